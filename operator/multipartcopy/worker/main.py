"""The worker: reads its task, copies or reads the parts of its index, reports, exits.

Exit status: 0 when nothing went wrong (parts may be left that the report has no room for),
42 for a permanent error, 143 after SIGTERM, 1 for anything that a new pod may mend.
"""

import json
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from multipartcopy.api import names
from multipartcopy.api.reasons import Reason
from multipartcopy.api.report import Report
from multipartcopy.api.task import AUTO_STREAMS, Task, Work, decode_task, upload_hash
from multipartcopy.s3.guard import Guard, parse_guard
from multipartcopy.worker.answers import Part
from multipartcopy.worker.budget import Budget
from multipartcopy.worker.errors import Failure, Side
from multipartcopy.worker.http import Connection, Store
from multipartcopy.worker.listing import StoredPart, list_parts
from multipartcopy.worker.pace import Growth, Pace, Window
from multipartcopy.worker.progress import Progress, plain
from multipartcopy.worker.relay import Done, Patience, Stream
from multipartcopy.worker.serial import Serial
from multipartcopy.worker.serverside import Copier
from multipartcopy.worker.trailers import Trailers
from multipartcopy.worker.web import Site

SECRETS_VARIABLE = "MULTIPARTCOPY_SECRETS"
REPORT_VARIABLE = "MULTIPARTCOPY_REPORT"
TERMINATION_LOG = "/dev/termination-log"
"""Where the kubelet looks for the report unless the pod says otherwise."""

EXIT_RETRY = 1
EXIT_TERMINATED = 128 + signal.SIGTERM
_PATIENCE = Patience()


def run(environ: Mapping[str, str]) -> NoReturn:
    """Be the worker, then end the process at once, whatever read a stream may be stuck in."""
    code = EXIT_RETRY
    try:
        code = main(environ)
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


def main(environ: Mapping[str, str], patience: Patience = _PATIENCE) -> int:
    """Returns the exit status; a stream may still be busy giving up.

    Raises for an environment that names no work: then there is nothing to report about.
    """
    report = Path(environ.get(REPORT_VARIABLE, TERMINATION_LOG))
    try:
        task = decode_task(environ[names.TASK_VARIABLE])
    except ValueError as error:
        # Whoever has made it reads other reports as well; words everybody can.
        _log("error", error=str(error))
        report.write_text(plain(str(error)))
        return EXIT_RETRY
    work = task.work[int(environ[names.INDEX_VARIABLE])]
    progress = Progress(
        report,
        Report(upload_hash(task.upload_id), task.attempt, task.run, work.batch, read=task.read),
    )
    secrets = Path(environ.get(SECRETS_VARIABLE, names.SECRETS_DIRECTORY))
    guard = parse_guard(environ.get(names.ALLOW_ENDPOINTS_VARIABLE, ""))
    worker = Worker(task, work, progress, patience, guard)
    try:
        signal.signal(signal.SIGTERM, _terminate)
        return worker.run(secrets)
    except Terminated:
        worker.fail(Reason.WORKER_TERMINATED, "stopped by SIGTERM")
        return EXIT_TERMINATED
    except Exception as error:
        traceback.print_exc()
        worker.fail(Reason.WORKER_FAILED, f"{type(error).__name__}: {error}")
        return EXIT_RETRY
    finally:
        worker.stop.set()


class Terminated(BaseException):
    """Raised in the main thread by SIGTERM; nothing but :func:`main` may catch it."""


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated


class Worker:
    """One index of one run. Only the main thread reports and logs."""

    def __init__(
        self, task: Task, work: Work, progress: Progress, patience: Patience, guard: Guard
    ) -> None:
        self.stop = threading.Event()
        self._task = task
        self._batch = work.batch
        self._progress = progress
        self._patience = patience
        self._guard = guard
        rate = task.bytes_per_second
        self._budget = Budget(rate, self.stop) if rate else None
        # With at least a MiB per second each, none is silent for longer than a second: stores hang up on silence.
        streams = 1 if task.serial else task.streams
        self._most = min(streams, max(1, rate >> 20)) if rate else streams
        self._pace = self._make_pace()
        self._told = self._pace.streams
        self._todo = deque(work.numbers())
        self._streams: list[Stream] = []

    def run(self, secrets: Path) -> int:
        """Returns the exit status. Raises what nobody expected."""
        task = self._task
        start = time.monotonic()
        _log(
            "start",
            batch=self._batch,
            parts=len(self._todo),
            streams=self._pace.streams,
            read=task.read,
            serverSide=task.server_side,
        )
        source = _source(task, secrets, self._guard)
        destination = Store(Side.DESTINATION, task.destination, secrets, self._guard)
        trailers = Trailers()
        kind = Copier if task.server_side and not task.read else Serial if task.serial else Stream
        self._streams = [
            kind(
                *(task, source, destination, self._patience, self.stop, trailers),
                self._pace,
                self._budget,
            )
            for _ in range(self._most)
        ]
        try:
            proven = task.checksum or task.server_side
            if proven and self._todo and not (task.again or task.read):
                self._skip_stored(
                    Connection(
                        destination, silence=self._patience.silence, step=self._patience.chunk
                    )
                )
            return self._run_parts()
        except Failure as failure:
            self.fail(failure.reason, str(failure))
            return names.EXIT_PERMANENT
        finally:
            seconds = round(time.monotonic() - start, 3)
            parts, sent = self._progress.parts, self._sent()
            _log("end", batch=self._batch, parts=parts, sent=sent, seconds=seconds)

    def _make_pace(self) -> Pace:
        if not self._task.adaptive:
            return Pace(Window(self._most), self.stop)
        window = Window(min(AUTO_STREAMS, self._most))
        return Pace(window, self.stop, Growth(window, self._most, time.monotonic()))

    def fail(self, reason: Reason, message: str, part: int | None = None) -> None:
        _log("error", reason=reason, error=message, part=part)
        self._progress.fail(reason, message, part, sent=self._sent())

    def _run_parts(self) -> int:
        """Do what is to be done; returns the exit status.

        A part that is given up must not lose the others; but when one after the other is given up,
        it is not the part's fault, and a later pod may have better luck.
        """
        pool = ThreadPoolExecutor(len(self._streams))
        idle = list(self._streams)
        running: dict[Future[Done], tuple[Part, Stream, float]] = {}
        given_up_in_a_row = 0
        while True:
            while idle and self._todo and len(running) < self._progress.room():
                part, stream = self._part(self._todo.popleft()), idle.pop()
                running[pool.submit(stream.run, part)] = part, stream, time.monotonic()
            if not running:
                return EXIT_RETRY if self._progress.error else 0
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                part, stream, start = running.pop(future)
                idle.append(stream)
                try:
                    done = future.result()
                except Failure as failure:
                    self.fail(failure.reason, str(failure), part.number)
                    if failure.permanent:
                        return names.EXIT_PERMANENT
                    if failure.throttled:
                        self._todo.clear()  # The store would say the same of the others.
                    given_up_in_a_row += 1
                    if given_up_in_a_row >= max(2, len(self._streams)):
                        self._todo.clear()
                else:
                    given_up_in_a_row = 0
                    self._progress.add(part.number, done.etag, done.crc, sent=self._sent())
                    _log_part(part, done, time.monotonic() - start)
                if self._told != self._pace.streams:
                    self._told = self._pace.streams
                    _log("pace", streams=self._told)

    def _part(self, number: int) -> Part:
        offset = (number - 1) * self._task.part_size
        return Part(number, offset, min(self._task.part_size, self._task.size - offset))

    def _skip_stored(self, connection: Connection) -> None:
        """Report the parts that the upload holds whole: with the checksum that we send last, or of its own copying.

        Raises Failure only for an upload that is lost: a failed listing costs some bytes, no more.
        """
        stored = self._list(connection)
        for number in list(self._todo):
            part = stored.get(number)
            if part is None or part.size != self._part(number).length:
                continue
            if part.crc is not None or self._task.server_side:
                if self._progress.room() < 1:
                    self._todo.clear()
                    return
                crc = None if self._task.server_side else part.crc
                self._progress.add(number, part.etag, crc, sent=0)
                self._todo.remove(number)
        if self._progress.parts:
            _log("stored already", parts=self._progress.parts)

    def _list(self, connection: Connection) -> dict[int, StoredPart]:
        first, last = min(self._todo), max(self._todo)
        for _ in range(2):
            try:
                with self._pace.turn():
                    parts = list_parts(connection, self._task.upload_id, first, last)
                    return {part.number: part for part in parts}
            except Failure as failure:
                if failure.reason is Reason.UPLOAD_LOST:
                    raise
                _log("the parts could not be listed", error=str(failure))
            finally:
                connection.close()
        return {}

    def _sent(self) -> int:
        return sum(stream.sent for stream in self._streams)


def _source(task: Task, secrets: Path, guard: Guard) -> Store:
    if task.url:
        return Site(task.url, task.source_etag, secrets, guard)
    assert task.source is not None
    return Store(Side.SOURCE, task.source, secrets, guard)


def _log(message: str, **fields: Any) -> None:
    print(json.dumps({"message": message, **fields}), flush=True)


def _log_part(part: Part, done: Done, seconds: float) -> None:
    rate = part.length / 2**20 / max(seconds, 0.001)
    _log(
        "part",
        part=part.number,
        bytes=part.length,
        seconds=round(seconds, 3),
        mibPerSecond=round(rate, 1),
        tries=done.tries,
    )
