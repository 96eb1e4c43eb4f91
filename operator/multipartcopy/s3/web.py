"""What is at a URL, by a GET of its first byte: the answer is what the workers will get.

A HEAD tells nothing more, and many servers, and every URL that is signed for GET, refuse it or answer it wrongly.
"""

import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.exceptions import BotoCoreError, HTTPClientError
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from multipartcopy.api.location import HttpLocation, public_url
from multipartcopy.api.reasons import Reason
from multipartcopy.s3.address import http_address
from multipartcopy.s3.connections import AnswerError, watch
from multipartcopy.s3.control import Access, Listener, ObjectInfo
from multipartcopy.s3.errors import Kind, S3Error
from multipartcopy.s3.guard import EndpointRefusedError, Guard, is_proxied
from multipartcopy.s3.headers import request_headers
from multipartcopy.s3.validators import Version, read_version

# Of an answer with a broken head it warns with the whole URL.
logging.getLogger("urllib3.connection").setLevel(logging.ERROR)

OPERATION = "GetURL"
_TIMEOUTS = 10, 60
"""Seconds: for a connection, for every read of an answer."""
_SECONDS = 120.0
"""For the whole head of it."""
_KEPT = {
    "CacheControl": "Cache-Control",
    "ContentDisposition": "Content-Disposition",
    "ContentLanguage": "Content-Language",
    "ContentType": "Content-Type",
}
_KINDS = {
    401: Kind.DENIED,
    403: Kind.DENIED,
    404: Kind.NO_OBJECT,
    407: Kind.RETRY,
    408: Kind.RETRY,
    409: Kind.RETRY,
    410: Kind.NO_OBJECT,
    412: Kind.PRECONDITION,
    425: Kind.RETRY,
    429: Kind.RETRY,
    501: Kind.PERMANENT,
}


@dataclass(frozen=True)
class Site:
    """A URL, and how to be let in there."""

    location: HttpLocation
    access: Access
    listener: Listener | None = None
    guard: Guard | None = None
    """Without one, every address is spoken to."""

    def look(self, version: Version | None = None, size: int | None = None) -> ObjectInfo:
        """What is there, or, with what was pinned, that it is still there. Raises S3Error."""
        headers = request_headers(dict(self.access.headers))
        headers |= version.conditions() if version else {}
        status, answer = self._get(headers | {"Range": "bytes=0-0"})
        if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            # There is no first byte, or so it seems: most stores do not say that there is none at all.
            status, answer = self._get(headers)
        found = self._read(status, answer)
        if version is None:
            return found
        changed = version.difference(answer)
        if found.size != size:
            changed = f"the size was {size} bytes, now it is {found.size}"
        if changed:
            raise self._error(Kind.PRECONDITION, "changed", changed)
        return found

    def _read(self, status: int, headers: Mapping[str, str]) -> ObjectInfo:
        if 300 <= status < 400:
            where = public_url(headers.get("Location", "")) or "nowhere"
            words = f"a redirect to {where}, which is not followed: write the URL where it ends"
            raise self._error(Kind.PERMANENT, str(status), words)
        size = self._size(status, headers)
        coding = headers.get("Content-Encoding", "identity").strip().lower()
        if coding not in ("", "identity"):
            words = f"it comes with Content-Encoding {coding[:40]}, though asked for as it is"
            raise self._error(Kind.PERMANENT, str(status), words)
        version = read_version(headers)
        return ObjectInfo(
            size=size,
            etag=version.etag,
            last_modified=version.last_modified,
            headers={ours: headers[name] for ours, name in _KEPT.items() if headers.get(name)},
            validator=version.validator,
            ranges=status != HTTPStatus.OK,
        )

    def _size(self, status: int, headers: Mapping[str, str]) -> int:
        """From the answer to the first byte's range: of that range, or of the whole."""
        content_range, length = headers.get("Content-Range", ""), headers.get("Content-Length", "")
        chunked = "Transfer-Encoding" in headers or not re.fullmatch("[0-9]{1,18}", length)
        match status:
            case HTTPStatus.PARTIAL_CONTENT:
                total = re.fullmatch(r"bytes 0-0/([0-9]{1,18})", content_range)
                if total and length == "1" and not chunked:
                    return int(total[1])
                words = "the first byte is answered"
                said = f"Content-Range {content_range!r}"[:80]
                raise self._unusable(status, f"{words} with {said} and Content-Length {length!r}")
            case HTTPStatus.OK if not chunked:
                return int(length)
            case HTTPStatus.OK:
                raise self._unusable(status, "it serves no ranges, and tells no Content-Length")
        default = Kind.PERMANENT if 200 <= status < 500 else Kind.RETRY
        with suppress(ValueError):
            phrase = HTTPStatus(status).phrase
            raise self._error(_KINDS.get(status, default), str(status), phrase)
        raise self._error(default, str(status), "an unknown status")

    def _unusable(self, status: int, how: str) -> S3Error:
        words = f"{how}: without a known size it cannot be copied"
        return self._error(Kind.PERMANENT, str(status), words)

    def _get(self, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str]]:
        """Status and headers of the answer; of the body, which may be the whole, nothing is read."""
        url = self.location.url
        session = URLLib3Session(
            proxies=get_environ_proxies(url),
            timeout=_TIMEOUTS,  # type: ignore[arg-type]
        )
        watch(session, _SECONDS, self.guard, self.access.ca)
        request = AWSRequest("GET", url, dict(headers), stream_output=True)
        answer: AWSResponse | None = None
        try:
            if self.guard:
                address = http_address(self.location)
                self.guard.check_name(address.host, proxied=is_proxied(address))
            answer = session.send(request.prepare())
            return answer.status_code, answer.headers
        except (BotoCoreError, EndpointRefusedError, OSError, ValueError) as error:
            refused = error.kwargs.get("error") if isinstance(error, HTTPClientError) else error
            if isinstance(refused, EndpointRefusedError):
                code = Reason.ENDPOINT_REFUSED
                raise self._error(Kind.REFUSED, code, str(refused)) from error
            if isinstance(refused, AnswerError):
                name = AnswerError.__name__
                raise self._error(Kind.RETRY, name, str(refused)) from error
            raise self._error(Kind.RETRY, type(error).__name__, self._words(error)) from error
        finally:
            if self.listener:
                self.listener(OPERATION, answer.status_code if answer is not None else None)
            if answer is not None:
                answer.raw.close()
            session.close()

    def _words(self, error: Exception) -> str:
        """Of an error that quotes the URL, as botocore's do."""
        query = urlsplit(self.location.url).query
        return (str(error).replace(f"?{query}", "") if query else str(error))[:300]

    def _error(self, kind: Kind, code: str, message: str) -> S3Error:
        return S3Error("source", str(self.location), OPERATION, kind, code, message)
