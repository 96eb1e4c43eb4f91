"""Runs commands one after the other and says what they used; started by `measure.py`.

A program of its own, and a small one: `ru_maxrss` of a process that was forked or spawned begins
with the size of its parent. Only the standard library, for `python -I -S`.

Reads a job as JSON from stdin: `commands`, each with `argv` and `env`, and `procs`, the file of a
cgroup to join or null. Writes what they used as JSON to stdout; their own output goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, NoReturn


def main() -> int:
    job = json.load(sys.stdin)
    used: dict[str, Any] = {"cpu": 0.0, "rss": 0, "code": 0}
    start = time.monotonic()
    for command in job["commands"]:
        pid = os.fork() or _become(command, job["procs"])
        _, status, usage = os.wait4(pid, 0)  # of the child, and of what it has waited for
        used["cpu"] += usage.ru_utime + usage.ru_stime
        used["rss"] = max(used["rss"], usage.ru_maxrss << 10)
        used["code"] = os.waitstatus_to_exitcode(status)
        if used["code"]:
            break
    used["wall"] = time.monotonic() - start
    print(json.dumps(used))
    return 0


def _become(command: dict[str, Any], procs: str | None) -> NoReturn:
    try:
        if procs:
            Path(procs).write_text("0")
        os.dup2(2, 1)
        os.execve(command["argv"][0], command["argv"], command["env"])  # noqa: S606
    except OSError as error:
        print(error, file=sys.stderr)
    os._exit(127)


if __name__ == "__main__":
    sys.exit(main())
