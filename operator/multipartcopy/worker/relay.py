"""One part: a ranged GET, streamed into an UploadPart or only summed up, never held in memory.

Why it is shaped so:

- A stream has one buffer, of a MiB, that every byte passes through: into it, over it for the checksum, and out
  of it again. So memory does not know how large a part is, and a part that fails is asked for again, from its
  first byte.
- What costs is not the bytes. Two copies by the kernel and a CRC64NVME take a quarter of a second for a GiB; to
  be woken, and to get the interpreter back from another thread, takes most of that again where it is done for
  every 256 KiB. So a buffer is filled by one call and emptied by one (``wire.py``), and Python is run once a MiB.
- Hence also threads and blocking sockets: with so few calls there is nothing that an event loop could save, and
  what is awaited is told by where a stream stands.
- The checksum follows the bytes as a trailer, for it is known only when they have passed. The head of a chunk is
  written into the buffer before its bytes, so that both leave in one call.
- The heads are left to ``http.client``: two for each part, of a format with many corners.
"""

import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import NamedTuple

from multipartcopy.api.reasons import Reason
from multipartcopy.api.task import Read, Task
from multipartcopy.worker import framing
from multipartcopy.worker.answers import (
    Part,
    Sums,
    check_crc,
    check_encryption,
    check_md5,
    stored_etag,
)
from multipartcopy.worker.budget import Budget
from multipartcopy.worker.errors import Failure, Side
from multipartcopy.worker.http import Connection, Store
from multipartcopy.worker.pace import Pace
from multipartcopy.worker.signing import EMPTY_PAYLOAD, UNSIGNED_PAYLOAD, UNSIGNED_TRAILER
from multipartcopy.worker.trailers import Trailers, refused


class Done(NamedTuple):
    """A part that was copied or read: its ETag, without quotes, if copied; its bytes' CRC64NVME, if they passed."""

    etag: str
    crc: int | None
    tries: int


@dataclass(frozen=True)
class Patience:
    """When a part is given up: after so many tries, but not before ``grace`` seconds of failing.

    The grace is for a Secret that rotates and a store that restarts. The pauses between tries are
    random, up to ``pause`` seconds at first, doubling up to ``longest_pause``. A try that a store
    has throttled does not count; but a pod that has got nothing else for ``throttled`` seconds
    leaves, so that the resource can say why.

    And when a try is, in seconds: ``silence`` of the object that is read; ``answer`` for the silence
    after the last byte sent, for stores hash a part before they answer; ``chunk`` for 1 MiB in either
    direction. That is 3.5 KB/s: many streams may share a line, but at less a part takes days.
    ``copy`` is for the silence of a store that copies a part by itself.
    """

    tries: int = 6
    grace: float = 30.0
    pause: float = 0.5
    longest_pause: float = 20.0
    throttled: float = 600.0
    silence: float = 60.0
    answer: float = 300.0
    chunk: float = 300.0
    copy: float = 900.0

    def delay(self, tries: int) -> float:
        longest = min(self.longest_pause, self.pause * 2 ** min(tries - 1, 30))
        return random.uniform(0, longest)  # noqa: S311


class Stream:
    """Copies or reads one part at a time, with two connections and one buffer of its own."""

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
        """``stop`` makes the stream give up in the middle of a part."""
        self.sent = 0
        """Payload bytes, those of failed tries included."""
        self._task = task
        self._origin = destination if task.read is Read.DESTINATION else source
        self._etag = task.read_etag if task.read else task.source_etag
        step = patience.chunk
        self._from = Connection(self._origin, silence=patience.silence, step=step)
        self._to = Connection(destination, silence=patience.answer, step=step)
        self._patience = patience
        self._stop = stop
        self._trailers = trailers
        self._pace = pace
        self._budget = budget
        self._buffer = memoryview(bytearray(framing.HEAD + framing.CHUNK))

    def run(self, part: Part) -> Done:
        """Copy the part, or read it where the task says so.

        Raises the Failure of the last try, or the first that is permanent.
        """
        failing_since: float | None = None
        tries = throttled = 0
        while True:
            tries += 1
            try:
                with self._pace.turn(part.length):
                    etag, crc = self._try(part)
                return Done(etag, crc, tries)
            except Failure as failure:
                now = time.monotonic()
                failing_since = failing_since or now
                if failure.permanent:
                    raise
                if failure.throttled:
                    throttled += 1
                    tired = self._pace.starved() >= self._patience.throttled
                else:
                    tired = tries - throttled >= self._patience.tries
                    tired = tired and now - failing_since >= self._patience.grace
                if tired:
                    # The store has what we did not send, with a checksum of its own making: were this
                    # retried by another pod, it would find the part whole.
                    failure.permanent = failure.reason is Reason.CHECKSUM_MISMATCH
                    raise
                if self._stop.wait(self._patience.delay(tries)):
                    raise

    def _try(self, part: Part) -> tuple[str, int | None]:
        """ETag and CRC64NVME."""
        try:
            body = self._open(part)
            return self._read(part, body) if self._task.read else self._copy(part, body)
        except BaseException:
            # An upload that is cut off is not stored; a kept connection would be out of step.
            self._from.close()
            self._to.close()
            raise

    def _open(self, part: Part) -> HTTPResponse:
        version = self._origin.version_id
        last = part.offset + part.length - 1
        headers = {"Range": f"bytes={part.offset}-{last}", **self._origin.conditions(self._etag)}
        query = {"versionId": version} if version else {}
        self._pace.wait(self._origin.side)
        self._from.request("GET", query, headers, EMPTY_PAYLOAD)
        body = self._from.answer()
        self._origin.check_range(body, part, size=self._task.size, etag=self._etag)
        return body

    def _read(self, part: Part, body: HTTPResponse) -> tuple[str, int]:
        sums = Sums(md5=False)
        for chunk in self._chunks(part.length, body):
            sums.update(chunk)
        return "", sums.crc

    def _copy(self, part: Part, body: HTTPResponse) -> tuple[str, int]:
        """Raises Failure where the store refuses the part, or holds other bytes than we sent."""
        sums = Sums(md5=self._task.md5)
        try:
            self._send(part, body, sums)
            answer = self._to.answer()
            self._to.read(answer)
        except Failure as failure:
            if self._task.checksum and failure.reason is Reason.REQUEST_REFUSED:
                raise refused(str(failure)) from failure
            raise
        etag = stored_etag(answer)
        check_encryption(answer, self._task.encryption)
        echo = answer.headers.get(framing.CRC_HEADER)
        if echo is not None:
            check_crc(echo, sums.crc)
        elif self._task.checksum:
            self._trailers.check(self._to, self._task.upload_id, part, sums.crc)
        if sums.md5:
            check_md5(answer, etag, sums.md5)
        return etag, sums.crc

    def _send(self, part: Part, body: HTTPResponse, sums: Sums) -> None:
        """Start the UploadPart and stream the body into it."""
        query = {"partNumber": str(part.number), "uploadId": self._task.upload_id}
        self._pace.wait(Side.DESTINATION)
        framed = self._task.checksum
        if framed:
            headers = {
                "Content-Encoding": "aws-chunked",
                "x-amz-decoded-content-length": str(part.length),
                "x-amz-trailer": framing.CRC_HEADER,
            }
            wire_length = framing.encoded_length(part.length)
            self._to.request("PUT", query, headers, UNSIGNED_TRAILER, wire_length)
        else:
            self._to.request("PUT", query, {}, UNSIGNED_PAYLOAD, part.length)
        for index, chunk in enumerate(self._chunks(part.length, body)):
            sums.update(chunk)
            self._to.send(self._framed(chunk, first=index == 0) if framed else chunk)
            self.sent += len(chunk)
        if framed:
            self._to.send(framing.tail(sums.crc))

    def _framed(self, chunk: memoryview, *, first: bool) -> memoryview:
        """The chunk with its head, which is written into the room before it."""
        head = framing.head(len(chunk), first=first)
        start = framing.HEAD - len(head)
        self._buffer[start : framing.HEAD] = head
        return self._buffer[start : framing.HEAD + len(chunk)]

    def _chunks(self, length: int, body: HTTPResponse) -> Iterator[memoryview]:
        """``length`` bytes of the body, one buffer after the other, each overwritten by the next."""
        for start in range(0, length, framing.CHUNK):
            end = framing.HEAD + min(framing.CHUNK, length - start)
            chunk = self._buffer[framing.HEAD : end]
            if self._budget:
                self._budget.take(len(chunk))
            self._from.read_into(body, chunk)
            yield chunk
            if self._stop.is_set():
                raise Failure(Reason.WORKER_TERMINATED, "stopped in the middle of a part")
