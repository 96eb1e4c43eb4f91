"""By what it is seen that what is at a URL has not changed: RFC 9110, 8.8 and 13.1.

Of the conditions none is ``If-Range``: where it does not hold, it has the whole sent.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Protocol

from multipartcopy.api.task import Validator


class Headers(Protocol):
    """Of an answer; they do not care for capitals."""

    def get(self, name: str, default: str, /) -> str: ...


_ETAG = re.compile(r'(W/)?"([!#-~]{1,256})"')
"""RFC 9110, 8.8.3, of ASCII, and as long as the status takes. Whatever else a server writes is none."""


@dataclass(frozen=True)
class Version:
    """Of what is at a URL; ``etag`` without quotes and ``W/``, ``last_modified`` RFC 3339, either may be none."""

    validator: Validator
    etag: str = ""
    last_modified: str | None = None

    def conditions(self) -> dict[str, str]:
        """The headers that have another version refused; a weak ETag never matches (13.1.1)."""
        if self.validator is Validator.ETAG:
            return {"If-Match": f'"{self.etag}"'}
        if self.last_modified is None or self.validator is Validator.SIZE:
            return {}
        date = datetime.fromisoformat(self.last_modified).astimezone(UTC)
        return {"If-Unmodified-Since": format_datetime(date, usegmt=True)}

    def difference(self, headers: Headers) -> str | None:
        """What of an answer shows another version: words, or None."""
        found = read_version(headers)
        match self.validator:
            case Validator.ETAG:
                tag = f"W/{found.etag}" if found.validator is Validator.WEAK_ETAG else found.etag
                what = f"the ETag was {self.etag}, now it is {tag or 'missing'}"
                return None if tag == self.etag else what
            case Validator.WEAK_ETAG:
                same = found.etag == self.etag
                what = f"the ETag was {self.etag}, now it is {found.etag or 'missing'}"
                return None if same else what
            case Validator.LAST_MODIFIED:
                was, now = self.last_modified, found.last_modified
                what = f"the time was {was}, now it is {now or 'missing'}"
                return None if was == now else what
            case Validator.SIZE:
                return None


def read_version(headers: Headers) -> Version:
    """What an answer tells."""
    etag = _ETAG.fullmatch(headers.get("ETag", "").strip())
    modified = _date(headers.get("Last-Modified", ""))
    if etag:
        return Version(Validator.WEAK_ETAG if etag[1] else Validator.ETAG, etag[2], modified)
    return Version(Validator.LAST_MODIFIED if modified else Validator.SIZE, "", modified)


def _date(text: str) -> str | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
