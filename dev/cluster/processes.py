"""Start and stop the cluster's processes, and never anybody else's.

There are no pid files to go stale. Every process is started with the state directory in its
environment, which its children inherit, and the kernel shows it in /proc/PID/environ: a process
says itself whose it is, also after a crash of whatever started it. A signal goes through a pidfd
that was opened before that was read, so it can never hit another process that got the number since.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dev.cluster.console import ClusterError, duration, tail
from dev.cluster.paths import BIN, LOGS, STATE

MARK = "MULTIPARTCOPY_CLUSTER"


@dataclass(frozen=True)
class Process:
    """A process of ours, and the pidfd that is its own whatever happens to the number."""

    pid: int
    pidfd: int
    program: str

    def send(self, signum: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signum)


def ours() -> Iterator[Process]:
    """Every process that carries our mark, children of components included."""
    mark = f"{MARK}={STATE}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with _opened(int(entry.name), lambda proc: mark in _words(proc / "environ")) as process:
                if process:
                    yield process


def kill(pid: int, is_ours: Callable[[Path], bool]) -> None:
    """Kill a process that shows in its directory in /proc that it is ours."""
    with _opened(pid, is_ours) as process:
        if process:
            process.send(signal.SIGKILL)


@contextmanager
def _opened(pid: int, is_ours: Callable[[Path], bool]) -> Iterator[Process | None]:
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        yield None
        return
    proc, process = Path("/proc", str(pid)), None
    with suppress(OSError):  # it has ended, or it is a kernel's thread
        if is_ours(proc):
            process = Process(pid, pidfd, os.fsdecode(_words(proc / "cmdline")[0]))
    try:
        yield process
    finally:
        os.close(pidfd)


def _words(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\0")


def pid_of(component: str) -> int | None:
    """The pid of a component that runs. Its first argument is the program's link in the state."""
    program = str(BIN / component)
    return next((process.pid for process in ours() if process.program == program), None)


def start(component: str, program: Path, arguments: list[str]) -> None:
    """Start a component in a session of its own, so that it outlives the shell."""
    link = BIN / component
    BIN.mkdir(parents=True, exist_ok=True)
    if not (link.is_symlink() and link.readlink() == program):
        link.unlink(missing_ok=True)
        link.symlink_to(program)
    LOGS.mkdir(parents=True, exist_ok=True)
    with log_of(component).open("a") as log:
        subprocess.Popen(
            [str(link), *arguments],
            cwd="/",
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _environment() -> dict[str, str]:
    """Little is passed on: a proxy or a Go setting of the shell is not for the cluster."""
    system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {MARK: str(STATE), "PATH": f"{BIN}:{system}", "HOME": str(STATE)}


def stop(component: str, patience: float = 5) -> None:
    """Ask a component to end, and kill it when it does not."""
    _end(lambda p: p.program == str(BIN / component), patience)


def stop_all(patience: float = 5) -> None:
    """End whatever carries our mark."""
    _end(lambda _: True, patience)


def _end(chosen: Callable[[Process], bool], patience: float) -> None:
    for signum, limit in ((signal.SIGTERM, patience), (signal.SIGKILL, 10.0)):
        deadline = time.monotonic() + limit
        left = _signal(filter(chosen, ours()), signum)
        while left and time.monotonic() < deadline:
            time.sleep(0.05)
            left = sum(1 for _ in filter(chosen, ours()))
        if not left:
            return


def _signal(processes: Iterable[Process], signum: signal.Signals) -> int:
    count = 0
    for process in processes:
        process.send(signum)
        count += 1
    return count


def log_of(component: str) -> Path:
    return LOGS / f"{component}.log"


def wait_until(
    what: str, ready: Callable[[], bool], limit: float, component: str | None = None
) -> None:
    """Wait for `ready`; a component that has ended meanwhile ends the wait."""
    deadline = time.monotonic() + limit
    checked = time.monotonic()
    while not ready():
        now = time.monotonic()
        if component and now - checked > 2:
            checked = now
            if pid_of(component) is None:
                raise ClusterError(
                    f"{component} ended; the end of {log_of(component)}:{tail(log_of(component))}"
                )
        if now > deadline:
            where = log_of(component) if component else LOGS
            end = tail(where) if component else ""
            raise ClusterError(f"{what}: not within {duration(limit)}; see {where}{end}")
        time.sleep(0.2)
