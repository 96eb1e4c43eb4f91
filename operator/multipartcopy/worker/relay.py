"""One part: a ranged GET streamed into an UploadPart, never held in memory.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html
"""

import random
import re
import threading
import time
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import NamedTuple

from awscrt.checksums import crc64nvme

from multipartcopy.api.reasons import Reason
from multipartcopy.api.report import encode_crc
from multipartcopy.api.task import Task
from multipartcopy.worker import framing
from multipartcopy.worker.errors import UNAVAILABLE, Failure, Side
from multipartcopy.worker.http import Connection, Store
from multipartcopy.worker.signing import EMPTY_PAYLOAD, UNSIGNED_PAYLOAD, UNSIGNED_TRAILER

SOURCE_TIMEOUT = 60.0
"""Seconds without a byte."""
DESTINATION_TIMEOUT = 300.0
"""Seconds without an answer: stores hash a part before they answer, and are silent meanwhile."""


class Part(NamedTuple):
    """``offset`` and ``length`` in bytes; ``length`` > 0."""

    number: int
    offset: int
    length: int


class Copied(NamedTuple):
    """A part that the destination holds: its ETag without quotes, the CRC64NVME of its bytes."""

    etag: str
    crc: int
    tries: int


@dataclass(frozen=True)
class Patience:
    """When a part is given up: after so many tries, but not before ``grace`` seconds of failing.

    The grace is for a Secret that rotates and a store that restarts. The pauses between tries are
    random, up to ``pause`` seconds at first, doubling up to ``longest_pause``.
    """

    tries: int = 6
    grace: float = 30.0
    pause: float = 0.5
    longest_pause: float = 20.0

    def delay(self, tries: int) -> float:
        return random.uniform(0, min(self.longest_pause, self.pause * 2 ** (tries - 1)))  # noqa: S311


class Stream:
    """Copies one part at a time, with two connections and one buffer of its own."""

    def __init__(
        self,
        task: Task,
        source: Store,
        destination: Store,
        patience: Patience,
        stop: threading.Event,
    ) -> None:
        """``stop`` makes the stream give up in the middle of a part."""
        self.sent = 0
        """Payload bytes, those of failed tries included."""
        self._task = task
        self._source = Connection(source, SOURCE_TIMEOUT)
        self._destination = Connection(destination, DESTINATION_TIMEOUT)
        self._patience = patience
        self._stop = stop
        self._buffer = memoryview(bytearray(framing.CHUNK))

    def copy(self, part: Part) -> Copied:
        """Raises the Failure of the last try, or the first that is permanent."""
        failing_since: float | None = None
        tries = 1
        while True:
            try:
                etag, crc = self._try(part)
                return Copied(etag, crc, tries)
            except Failure as failure:
                now = time.monotonic()
                failing_since = failing_since or now
                tired = tries >= self._patience.tries
                if failure.permanent:
                    raise
                if tired and now - failing_since >= self._patience.grace:
                    # The store has what we did not send, with a checksum of its own making: were this
                    # retried by another pod, it would find the part whole.
                    failure.permanent = failure.reason is Reason.CHECKSUM_MISMATCH
                    raise
                if self._stop.wait(max(self._patience.delay(tries), failure.retry_after)):
                    raise
            tries += 1

    def _try(self, part: Part) -> tuple[str, int]:
        try:
            body = self._open(part)
            crc = self._send(part, body)
            return self._stored(crc), crc
        except BaseException:
            # An upload that is cut off is not stored; a kept connection would be out of step.
            self._source.close()
            self._destination.close()
            raise

    def _open(self, part: Part) -> HTTPResponse:
        task, version = self._task, self._task.source.version_id
        last = part.offset + part.length - 1
        headers = {"Range": f"bytes={part.offset}-{last}", "If-Match": f'"{task.source_etag}"'}
        query = {"versionId": version} if version else {}
        self._source.request("GET", query, headers, EMPTY_PAYLOAD)
        body = self._source.answer()
        check_range(body, part, size=task.size, etag=task.source_etag)
        return body

    def _send(self, part: Part, body: HTTPResponse) -> int:
        """Start the UploadPart and stream the body into it; returns the CRC64NVME."""
        query = {"partNumber": str(part.number), "uploadId": self._task.upload_id}
        framed = self._task.checksum
        if framed:
            headers = {
                "Content-Encoding": "aws-chunked",
                "x-amz-decoded-content-length": str(part.length),
                "x-amz-trailer": framing.CRC_HEADER,
            }
            wire_length = framing.encoded_length(part.length)
            self._destination.request("PUT", query, headers, UNSIGNED_TRAILER, wire_length)
        else:
            self._destination.request("PUT", query, {}, UNSIGNED_PAYLOAD, part.length)
        crc = 0
        for start in range(0, part.length, framing.CHUNK):
            chunk = self._buffer[: min(framing.CHUNK, part.length - start)]
            self._source.read_into(body, chunk)
            crc = crc64nvme(chunk, crc)
            if framed:
                self._destination.send(framing.head(len(chunk), first=start == 0))
            self._destination.send(chunk)
            self.sent += len(chunk)
            if self._stop.is_set():
                raise Failure(Reason.WORKER_TERMINATED, "stopped in the middle of a part")
        if framed:
            self._destination.send(framing.tail(crc))
        return crc

    def _stored(self, crc: int) -> str:
        """The ETag of the part; raises Failure where the store holds other bytes than we sent."""
        answer = self._destination.answer()
        self._destination.read(answer)
        etag = answer.headers.get("ETag", "").strip('"')
        echo = answer.headers.get(framing.CRC_HEADER)
        if answer.status != 200 or not etag:
            problem = f"UploadPart answered {answer.status} with the ETag {etag!r}"
        elif echo is not None and echo != encode_crc(crc):
            message = f"UploadPart answered the CRC64NVME {echo}, sent was {encode_crc(crc)}"
            raise Failure(Reason.CHECKSUM_MISMATCH, f"{Side.DESTINATION}: {message}")
        else:
            return etag
        raise Failure(UNAVAILABLE[Side.DESTINATION], f"{Side.DESTINATION}: {problem}")


def check_range(answer: HTTPResponse, part: Part, *, size: int, etag: str) -> None:
    """Raises Failure unless the answer is exactly this range of the object that was pinned."""
    side = Side.SOURCE
    found = answer.headers.get("ETag", "").strip('"')
    if answer.status != 206:
        message = f"{side}: a range was answered with {answer.status} instead of 206"
        # Without the object's ETag it is not the object: a proxy's page, which will pass.
        if found != etag:
            raise Failure(UNAVAILABLE[side], message)
        raise Failure(Reason.RANGE_NOT_SUPPORTED, message, permanent=True)
    if found != etag:
        message = f"{side}: the ETag was {etag}, now it is {found or 'missing'}"
        raise Failure(Reason.SOURCE_CHANGED, message, permanent=True)
    content_range = answer.headers.get("Content-Range", "")
    total = re.fullmatch(r"bytes \d+-\d+/(\d+)", content_range)
    if total and int(total[1]) != size:
        message = f"{side}: the size was {size} bytes, now it is {total[1]}"
        raise Failure(Reason.SOURCE_CHANGED, message, permanent=True)
    wanted = f"bytes {part.offset}-{part.offset + part.length - 1}/{size}"
    if content_range != wanted:
        message = f"{side}: asked for '{wanted}', answered '{content_range}'"
        raise Failure(Reason.RANGE_NOT_SUPPORTED, message, permanent=True)
    length = answer.headers.get("Content-Length")
    if length is None:
        message = f"{side}: a range was answered without a Content-Length (chunked)"
        raise Failure(Reason.RANGE_NOT_SUPPORTED, message, permanent=True)
    if length != str(part.length):
        message = f"{side}: Content-Length is {length} for {part.length} bytes"
        raise Failure(UNAVAILABLE[side], message)
