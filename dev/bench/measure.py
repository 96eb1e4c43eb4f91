"""Run a contender, and measure what its processes use."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dev.bench.cgroup import group

_LAUNCHER = Path(__file__).with_name("launch.py")


class RunError(Exception):
    """A run that failed or took too long, with the end of what it said."""


@dataclass(frozen=True)
class Command:
    """``argv[0]`` is a path; ``env`` is the whole environment."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Usage:
    """Of all commands of a run: CPU time of user and kernel, and the largest of each peak, in bytes.

    ``cgroup`` is None where this machine does not let us measure it.
    """

    cpu_seconds: float
    wall_seconds: float
    peak_rss: int
    peak_cgroup: int | None


def measure(commands: Sequence[Command], limit: float) -> Usage:
    """Run the commands one after the other for ``limit`` seconds at most. Raises RunError."""
    with group() as cgroup:
        job = {
            "commands": [asdict(command) for command in commands],
            "procs": str(cgroup.procs) if cgroup else None,
        }
        used = _launch(job, limit)
        peak = cgroup.peak() if cgroup else None
    return Usage(used["cpu"], used["wall"], used["rss"], peak)


def _launch(job: dict[str, Any], limit: float) -> dict[str, Any]:
    launcher = subprocess.Popen(
        [sys.executable, "-I", "-S", _LAUNCHER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    try:
        out, err = launcher.communicate(json.dumps(job), limit)
    except BaseException as stopped:
        os.killpg(launcher.pid, signal.SIGKILL)
        launcher.wait()
        if isinstance(stopped, subprocess.TimeoutExpired):
            raise RunError(f"no end within {limit:.0f} s") from None
        raise
    used: dict[str, Any] = json.loads(out) if out else {"code": launcher.returncode}
    if used["code"]:
        raise RunError(f"exit status {used['code']}: {err[-1000:].strip()}")
    return used
