"""The control group that all pods live in, in cgroup v2 and in every hierarchy of v1.

It tells what to kill and what to remove, whatever a crash has left behind.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from dev.cluster import processes

NAME = "multipartcopy"


def _hierarchies() -> list[Path]:
    found: list[Path] = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        mount_point = Path(before.split()[4])
        if after.split()[0] in ("cgroup", "cgroup2") and mount_point not in found:
            found.append(mount_point)
    return found


def create() -> None:
    for hierarchy in _hierarchies():
        group = hierarchy / NAME
        controllers = hierarchy / "cgroup.controllers"
        if controllers.exists():  # v2 hands a controller down only when told to
            for controller in controllers.read_text().split():
                with suppress(OSError):
                    (hierarchy / "cgroup.subtree_control").write_text(f"+{controller}")
        group.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):  # empty in a new group of v1
            inherited = hierarchy / setting
            if inherited.exists() and not (group / setting).read_text().strip():
                (group / setting).write_text(inherited.read_text())


def kill(limit: float = 20) -> None:
    """Kill what lives in our group and remove the group."""
    deadline = time.monotonic() + limit
    while leftovers() and time.monotonic() < deadline:
        for group in _groups():
            for pid in _pids(group):
                processes.kill(pid, _is_inside)
            with suppress(OSError):
                group.rmdir()
        time.sleep(0.05)


def _is_inside(proc: Path) -> bool:
    return f":/{NAME}" in (proc / "cgroup").read_text()


def leftovers() -> list[str]:
    return [f"cgroup {group}" for group in _groups()]


def _groups() -> list[Path]:
    """Ours and all below, the deepest first, as they can be removed."""
    return [
        Path(path)
        for hierarchy in _hierarchies()
        for path, _, _ in os.walk(hierarchy / NAME, topdown=False)
    ]


def _pids(group: Path) -> list[int]:
    with suppress(OSError):
        return [int(pid) for pid in (group / "cgroup.procs").read_text().split()]
    return []
