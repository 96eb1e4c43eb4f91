"""One part that the destination's store copies by itself: no byte of it passes here.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html
"""

import threading
from xml.etree import ElementTree

from multipartcopy.api.reasons import Reason
from multipartcopy.api.task import Task
from multipartcopy.s3.address import copy_source
from multipartcopy.worker.answers import Part
from multipartcopy.worker.budget import Budget
from multipartcopy.worker.errors import UNAVAILABLE, Failure, Side, judge
from multipartcopy.worker.http import Connection, Store
from multipartcopy.worker.listing import list_parts
from multipartcopy.worker.pace import Pace
from multipartcopy.worker.relay import Patience, Stream
from multipartcopy.worker.signing import EMPTY_PAYLOAD
from multipartcopy.worker.trailers import Trailers

_SIDE = Side.DESTINATION
_ARCHIVED = "InvalidObjectState"
"""Comes with 403, and is no want of permission: nobody can read it, the workers neither."""
_GONE = {
    "NoSuchKey": Reason.SOURCE_NOT_FOUND,
    "NoSuchVersion": Reason.SOURCE_NOT_FOUND,
    "NoSuchBucket": Reason.BUCKET_NOT_FOUND,
}
"""Said of the source as well as of the destination."""
_STATUSES = {
    "AccessDenied": 403,
    "InvalidArgument": 400,
    "InvalidRequest": 400,
    "MethodNotAllowed": 405,
    "NotImplemented": 501,
}
"""With which these are answered where the head of the answer was not sent before."""


class Copier(Stream):
    """Has one part at a time copied; tries, pauses and gives up as a stream that relays does."""

    def __init__(
        self,
        task: Task,
        source: Store,
        destination: Store,
        patience: Patience,
        stop: threading.Event,
        trailers: Trailers,
        pace: Pace,
        budget: Budget | None = None,
    ) -> None:
        super().__init__(task, source, destination, patience, stop, trailers, pace, budget)
        assert task.source is not None
        self._source = task.source
        self._asked = Connection(destination, silence=patience.copy, step=patience.copy)

    def _try(self, part: Part) -> tuple[str, int | None]:
        """The ETag of the part; what its bytes are, nobody here has seen."""
        try:
            return self._ask(part), None
        except BaseException:
            self._asked.close()
            raise

    def _ask(self, part: Part) -> str:
        """Raises Failure. A store sends the head of its answer, 200, before it knows how it will end."""
        task = self._task
        headers = {
            "x-amz-copy-source": copy_source(self._source),
            "x-amz-copy-source-if-match": f'"{task.source_etag}"',
        }
        if part.length < task.size:  # Of a source of 5 MB or less no range is taken.
            last = part.offset + part.length - 1
            headers["x-amz-copy-source-range"] = f"bytes={part.offset}-{last}"
        query = {"partNumber": str(part.number), "uploadId": task.upload_id}
        self._pace.wait(_SIDE)
        try:
            self._asked.request("PUT", query, headers, EMPTY_PAYLOAD)
            answer = self._asked.answer()
            # To HTTP one that only ends when the connection does is whole wherever it is cut off.
            framed = answer.chunked or answer.length is not None
            return copied_etag(self._asked.read(answer), framed=framed)
        except Failure as failure:
            raise self._judged(failure, part) from failure

    def _judged(self, failure: Failure, part: Part) -> Failure:
        """What an answer means that was given about two objects at once."""
        said, code = f"says the store that copies it: {failure}", failure.code
        if failure.status == 412 or code == "PreconditionFailed":
            message = f"{Side.SOURCE}: not as it was pinned, {said}"
            return Failure(Reason.SOURCE_CHANGED, message, permanent=True)
        if code == _ARCHIVED:
            message = f"{Side.SOURCE}: archived, {said}"
            return Failure(Reason.REQUEST_REFUSED, message, permanent=True)
        if code in _GONE:
            self._asked.close()
            for _ in list_parts(self._asked, self._task.upload_id, part.number, part.number):
                pass  # Where it is the upload, or its bucket, that is gone, this says so.
            return Failure(_GONE[code], f"{Side.SOURCE}: gone, {said}", permanent=True)
        reason = failure.reason
        if failure.status == 200 and code in _STATUSES:
            reason, _ = judge(_SIDE, _STATUSES[code], code, pinned=False)
        if reason is Reason.REQUEST_REFUSED:
            return _refused(str(failure))
        failure.reason = reason
        return failure


def copied_etag(body: bytes, *, framed: bool) -> str:
    """From a CopyPartResult, without quotes. ``framed``: it is known to be whole. Raises Failure.

    A store that does not know the request may take it for an UploadPart of no bytes, and answer nothing.
    One that has begun to answer, if only by a blank, knows it.
    """
    if not body and framed:
        raise _refused("it answered without a CopyPartResult")
    try:
        root = ElementTree.fromstring(body.strip())  # noqa: S314 - expat bounds expansion by itself
    except ElementTree.ParseError as error:
        message = f"{_SIDE}: not the result of a copy: {error}"
        raise Failure(UNAVAILABLE[_SIDE], message) from error
    if etag := root.findtext("{*}ETag", "").strip().removeprefix("W/").strip('"'):
        return etag
    if root.tag.endswith("CopyPartResult"):
        raise _refused("it answered without an ETag")
    raise Failure(UNAVAILABLE[_SIDE], f"{_SIDE}: not the result of a copy")


def _refused(how: str) -> Failure:
    message = f"{_SIDE}: the store does not copy the part by itself: {how}"
    return Failure(Reason.SERVER_SIDE_REFUSED, message, permanent=True)
