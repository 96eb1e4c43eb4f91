"""A source that serves no ranges: its parts come one after the other, out of one answer.

Whatever goes wrong, with either side, it is asked for again, and read from its first byte up to the part
that is due; parts that are stored already are passed over. So no byte is kept, and nothing is sent twice but
the part that failed.
"""

from collections.abc import Iterator
from http.client import HTTPResponse

from multipartcopy.worker.answers import Part
from multipartcopy.worker.errors import Side
from multipartcopy.worker.relay import Stream
from multipartcopy.worker.signing import EMPTY_PAYLOAD
from multipartcopy.worker.web import Site


class Serial(Stream):
    """The only stream of its pod. Parts come in ascending order; for one that lies behind, it begins anew."""

    _body: HTTPResponse | None = None
    _at = 0
    """Bytes of the body that have been read."""

    def _try(self, part: Part) -> tuple[str, int | None]:
        try:
            return super()._try(part)
        except BaseException:
            self._body = None
            raise

    def _open(self, part: Part) -> HTTPResponse:
        """The answer, read up to the part."""
        if self._body is None or self._at > part.offset:
            self._body, self._at = self._ask(), 0
        for _ in self._chunks(part.offset - self._at, self._body):
            pass
        return self._body

    def _chunks(self, length: int, body: HTTPResponse) -> Iterator[memoryview]:
        for chunk in super()._chunks(length, body):
            self._at += len(chunk)
            yield chunk

    def _ask(self) -> HTTPResponse:
        origin = self._origin
        assert isinstance(origin, Site)
        self._from.close()  # The rest of an answer would be in the way.
        self._pace.wait(Side.SOURCE)
        self._from.request("GET", {}, origin.conditions(self._etag), EMPTY_PAYLOAD)
        body = self._from.answer()
        origin.check_whole(body, self._task.size)
        return body
