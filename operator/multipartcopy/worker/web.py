"""A source that is a URL: what is sent there, and what an answer must be to be believed."""

from collections.abc import Mapping
from http.client import HTTPResponse
from pathlib import Path

from multipartcopy.api.reasons import Reason
from multipartcopy.api.task import UrlSource, Validator
from multipartcopy.s3 import headers as allowed
from multipartcopy.s3.address import http_address
from multipartcopy.s3.guard import Guard
from multipartcopy.s3.validators import Version, read_version
from multipartcopy.worker.answers import Part, check_content_range, check_range
from multipartcopy.worker.errors import CHANGED, UNAVAILABLE, Failure, Side
from multipartcopy.worker.http import Store, tls_context
from multipartcopy.worker.proxies import find_proxy

_SIDE = Side.SOURCE
_PASSING = {404, 407, 408, 409, 425, 429, 499}
"""A 404 of what was there may be of something in between: it must not end a copy of terabytes."""


class Site(Store):
    """What is at the URL, as it was pinned."""

    def __init__(
        self, source: UrlSource, etag: str, secrets: Path, guard: Guard | None = None
    ) -> None:
        """``secrets`` as of a store; ``source/`` has a file for each header.

        Raises ValueError for a proxy of an unknown kind.
        """
        self.side = _SIDE
        self.version_id = None
        self.address = http_address(source.location)
        self.proxy = find_proxy(self.address)
        self.guard = guard
        self.tls = tls_context(self.address, secrets / f"{_SIDE}-ca")
        self._version = Version(source.validator, etag, source.last_modified)
        self._headers = secrets / _SIDE if source.location.headers_secret_ref else None

    def conditions(self, etag: str) -> dict[str, str]:
        return self._version.conditions()

    def signed(
        self, method: str, target: str, headers: Mapping[str, str], payload: str
    ) -> dict[str, str]:
        """With the Secret's own headers; there is no signature."""
        own = allowed.request_headers(self._read_headers())
        return {"Host": self.address.authority, **own, **headers}

    def _read_headers(self) -> dict[str, str]:
        """Read again for every request, as credentials are. Names with two dots are the kubelet's own."""
        if self._headers is None:
            return {}
        try:
            files = [f for f in self._headers.iterdir() if not f.name.startswith("..")]
            own = {file.name: file.read_text(errors="replace").strip() for file in files}
        except OSError as error:
            raise Failure(Reason.ACCESS_DENIED, f"{_SIDE}: no headers: {error}") from error
        if problem := allowed.problem(own):
            raise Failure(Reason.ACCESS_DENIED, f"{_SIDE}: the Secret with headers: {problem}")
        return own

    def judge(self, status: int, code: str, *, pinned: bool) -> tuple[Reason, bool]:
        """By the status alone: a server has no codes."""
        if status in (412, 416):
            return CHANGED[_SIDE], True
        if status in (401, 403):
            return Reason.ACCESS_DENIED, False
        if status == 410:
            return Reason.SOURCE_NOT_FOUND, True
        refused = (status < 500 and status not in _PASSING) or status == 501
        return (Reason.REQUEST_REFUSED, True) if refused else (UNAVAILABLE[_SIDE], False)

    def check_range(self, answer: HTTPResponse, part: Part, *, size: int, etag: str) -> None:
        """As of an object, but by the validator that there is."""
        difference = self._version.difference(answer.headers)
        if answer.status != 206:
            message = f"{_SIDE}: a range was answered with {answer.status} instead of 206"
            if difference or answer.headers.get("Content-Length") != str(size):
                raise Failure(UNAVAILABLE[_SIDE], message)  # a page of something in between
            raise Failure(Reason.RANGE_NOT_SUPPORTED, message, permanent=True)
        _check_coding(answer)
        if self._version.validator is Validator.ETAG:
            check_range(answer, part, side=_SIDE, size=size, etag=self._version.etag)
            return
        if difference:
            raise Failure(CHANGED[_SIDE], f"{_SIDE}: {difference}", permanent=True)
        check_content_range(answer, part, side=_SIDE, size=size)

    def check_whole(self, answer: HTTPResponse, size: int) -> None:
        """Raises Failure unless the answer is all of what was pinned."""
        found = read_version(answer.headers).validator
        silent = found is Validator.SIZE and self._version.validator is not Validator.SIZE
        if answer.status != 200 or silent:
            message = f"{_SIDE}: a GET was answered with {answer.status}, of something else"
            raise Failure(UNAVAILABLE[_SIDE], message)
        _check_coding(answer)
        if difference := self._version.difference(answer.headers):
            raise Failure(CHANGED[_SIDE], f"{_SIDE}: {difference}", permanent=True)
        length = answer.headers.get("Content-Length")
        if length is None or "Transfer-Encoding" in answer.headers:
            message = f"{_SIDE}: a GET was answered in chunks, without its length"
            raise Failure(Reason.REQUEST_REFUSED, message, permanent=True)
        if length != str(size):
            message = f"{_SIDE}: the size was {size} bytes, now it is {length}"
            raise Failure(CHANGED[_SIDE], message, permanent=True)


def _check_coding(answer: HTTPResponse) -> None:
    coding = answer.headers.get("Content-Encoding", "").strip().lower()
    if coding not in ("", "identity"):
        message = f"{_SIDE}: the answer has the Content-Encoding {coding[:40]}"
        raise Failure(Reason.RANGE_NOT_SUPPORTED, message, permanent=True)
