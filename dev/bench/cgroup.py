"""A control group for one run, whose peak counts what the resident size of a process does not:
the kernel's memory for it, socket buffers among it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_UNLIMITED = str(1 << 50)


class Group:
    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def procs(self) -> Path:
        """What a process writes "0" into to join."""
        return self._path / "cgroup.procs"

    def peak(self) -> int:
        """In bytes. Version 1 counts socket buffers apart: there it is the sum of two peaks,
        which may be more than what was in use at any moment.
        """
        names = ("memory.peak", "memory.max_usage_in_bytes", "memory.kmem.tcp.max_usage_in_bytes")
        files = [self._path / name for name in names]
        return sum(int(file.read_text()) for file in files if file.exists())


@contextmanager
def group() -> Iterator[Group | None]:
    """A new group, or None where this user or this kernel cannot have one."""
    path = _make(f"multipartcopy-bench-{os.getpid()}")
    try:
        yield Group(path) if path else None
    finally:
        if path:
            _remove(path)


def _make(name: str) -> Path | None:
    version1 = _ROOT / "memory"
    path = (version1 if version1.is_dir() else _ROOT) / name
    try:
        if not version1.is_dir():
            (_ROOT / "cgroup.subtree_control").write_text("+memory")
        path.mkdir()
    except OSError:
        return None
    with suppress(OSError):  # version 1 counts socket buffers only where they have a limit
        (path / "memory.kmem.tcp.limit_in_bytes").write_text(_UNLIMITED)
    if not any((path / name).exists() for name in ("memory.peak", "memory.max_usage_in_bytes")):
        path.rmdir()
        return None
    return path


def _remove(path: Path) -> None:
    for _ in range(100):  # a group of processes that have just ended is busy for a moment
        try:
            path.rmdir()
        except OSError:
            time.sleep(0.02)
        else:
            return
