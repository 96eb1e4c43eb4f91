"""The report of this pod: what is done so far, in the file that becomes the termination message."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path

from multipartcopy.api.ranges import format_ranges
from multipartcopy.api.reasons import Reason
from multipartcopy.api.report import (
    ERROR_MESSAGE_LIMIT,
    Report,
    WorkerError,
    capacity,
    pack_crcs,
    packable,
)


class Progress:
    """Rewrites the whole report at every change: the pod can be killed at any moment.

    One ``pwrite`` of less than a page, never shorter than the one before it, leaves either the old
    report or the new one. The file is kept, because the kubelet has mounted exactly this one.
    """

    def __init__(self, path: Path, report: Report) -> None:
        """``report`` says whose it is. Raises OSError where the file cannot be written."""
        self._report = report
        self._parts: dict[int, tuple[str, int | None]] = {}
        self._longest_etag, self._packed = 0, True
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._length = os.fstat(self._file).st_size
        self._write()

    def room(self) -> int:
        """How many more parts the report can name."""
        return capacity(self._longest_etag, packed=self._packed) - len(self._parts)

    @property
    def parts(self) -> int:
        return len(self._parts)

    @property
    def error(self) -> WorkerError | None:
        return self._report.error

    def add(self, number: int, etag: str, crc: int | None, *, sent: int) -> None:
        """A part is done. One that there is no room for is left to a later run."""
        written = len(json.dumps(etag)) - 2
        self._longest_etag = max(self._longest_etag, written)
        self._packed = self._packed and (packable([etag]) or self._report.read is not None)
        if self.room() < 1:
            return
        self._parts[number] = (etag, crc)
        done = sorted(self._parts.items())
        self._report = replace(
            self._report,
            parts=format_ranges(self._parts),
            etags=() if self._report.read else tuple(etag for _, (etag, _) in done),
            crc64nvme=pack_crcs([crc for _, (_, crc) in done if crc is not None]),
            sent=sent,
        )
        self._write()

    def fail(self, reason: Reason, message: str, part: int | None = None, *, sent: int) -> None:
        error = WorkerError(str(reason), plain(message), part)
        self._report = replace(self._report, error=error, sent=sent)
        self._write()

    def _write(self) -> None:
        self._report = replace(self._report, peak_rss=peak_rss())
        message = self._report.encode().ljust(self._length)
        self._length = len(message)
        os.pwrite(self._file, message, 0)


def plain(message: str) -> str:
    """Text that JSON writes one byte a character, cut to its limit."""
    text = message.replace('"', "'").replace("\n", " ")
    return re.sub(r"[^ -~]|\\", "?", text)[:ERROR_MESSAGE_LIMIT]


def peak_rss() -> int:
    """Of this process, in bytes; 0 where the kernel does not say.

    Not ``ru_maxrss``: that is inherited from the process that started this one.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)
    return int(found[1]) << 10 if found else 0
