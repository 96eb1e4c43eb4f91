"""The operator's own process, as the kernel sees it: CPU time, memory, and its peak."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dev import lab

_TICKS = os.sysconf("SC_CLK_TCK")
_EVERY = 5.0


@dataclass(frozen=True)
class Use:
    """At a time (seconds since the epoch): CPU seconds of user and kernel so far, resident bytes, their peak."""

    at: float
    cpu_seconds: float
    rss: int
    peak: int


class Process:
    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._proc = Path("/proc", str(pid))

    def use(self) -> Use:
        return parse_use(
            time.time(), (self._proc / "stat").read_text(), (self._proc / "status").read_text()
        )

    def forget_peak(self) -> None:
        """The peak is then that from now on (proc(5), ``clear_refs``)."""
        (self._proc / "clear_refs").write_text("5")

    @contextmanager
    def sampling(self) -> Iterator[list[Use]]:
        samples, done = [self.use()], threading.Event()

        def sample() -> None:
            while not done.wait(_EVERY):
                samples.append(self.use())

        thread = threading.Thread(target=sample, daemon=True)
        thread.start()
        try:
            yield samples
        finally:
            done.set()
            thread.join()


def parse_use(at: float, stat: str, status: str) -> Use:
    """Of ``/proc/PID/stat`` and ``status``."""
    fields = stat.rpartition(")")[2].split()  # the name before may have spaces in it
    cpu = (int(fields[11]) + int(fields[12])) / _TICKS
    sizes = dict(re.findall(r"^(Vm\w+):\s+(\d+) kB$", status, re.MULTILINE))
    return Use(at, cpu, int(sizes["VmRSS"]) << 10, int(sizes["VmHWM"]) << 10)


def operator() -> Process:
    """Of the one operator in the embedded cluster. Raises LabError."""
    selector = "--selector=app.kubernetes.io/component=operator"
    pods = lab.get("pods", "--namespace", lab.SYSTEM, selector)["items"]
    uids = [pod["metadata"]["uid"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    if len(uids) != 1:
        raise lab.LabError(f"there are {len(uids)} operators, not one")
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            words = (proc / "cmdline").read_text().split("\0")
            group = (proc / "cgroup").read_text().replace("_", "-")
        except OSError:
            continue  # it has ended
        if uids[0] in group and words[1:4] == ["-m", "multipartcopy", "operator"]:
            return Process(int(proc.name))
    raise lab.LabError("the operator's process was not found: is the cluster on this machine?")
