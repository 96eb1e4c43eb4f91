"""The Python environment of this checkout, made from the lock when it is missing, and kept in the cache.

    python3 dev/venv.py               print the path of its Python
    python3 dev/venv.py COMMAND ...   run a command in it

Only the standard library, and nothing that an older Python could not read: it has to say that it is too old.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements/dev.txt"


def main() -> int:  # noqa: RET503 - it ends as another program
    if sys.version_info < (3, 11):  # noqa: UP036 - it runs before anything has asked for 3.11
        version = ".".join(map(str, sys.version_info[:3]))
        print(
            f"Python 3.11 or newer is needed, and {sys.executable} is {version}:"
            " name another with `make PYTHON=python3.13 ...`",
            file=sys.stderr,
        )
        return 2
    sys.path[0] = str(ROOT)
    from dev.cluster.console import ClusterError, say

    try:
        python = environment()
    except ClusterError as error:
        say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    command = sys.argv[1:]
    if not command:
        print(python)
        return 0
    _become(command, python)


def _become(command: list[str], python: Path) -> NoReturn:
    path = os.environ.get("PATH", os.defpath)
    os.environ["PATH"] = f"{python.parent}:{path}"
    os.environ["PYTHONPATH"] = f"{ROOT / 'operator'}:{ROOT}"
    try:
        os.execvp(command[0], command)  # noqa: S606 - the caller's own command
    except OSError as error:
        sys.exit(f"error: {command[0]}: {error.strerror}")


def environment() -> Path:
    """The Python of a complete environment; a half-made one is made anew."""
    from dev.cluster.console import duration, say
    from dev.cluster.paths import CACHE, locked

    key = hashlib.sha256(f"{LOCK.read_text()}{sys.version}{sys.base_prefix}".encode())
    home = CACHE / f"venv-{key.hexdigest()[:12]}"
    python, complete = home / "bin/python", home / "complete"
    if not complete.exists():
        with locked("venv", CACHE / "locks"):
            if not complete.exists():
                start = time.monotonic()
                _make(home, python, CACHE / "logs/venv.log")
                complete.touch()
                say(f"the Python environment is made ({duration(time.monotonic() - start)})")
    return python


def _make(home: Path, python: Path, log: Path) -> None:
    from dev.cluster.console import run_logged, say
    from dev.cluster.prereqs import install

    # Debian has it in a package of its own.
    ensurepip = Path(sysconfig.get_path("stdlib"), "ensurepip/__init__.py")
    install({str(ensurepip): "python3-venv"})
    shutil.rmtree(home, ignore_errors=True)
    say(f"making the Python environment from {LOCK.relative_to(ROOT)}")
    run_logged(log, sys.executable, "-m", "venv", home)
    _install(python, log)


def _install(python: Path, log: Path) -> None:
    from dev.cluster.console import ClusterError, tail

    total = len(re.findall(r"^\w", LOCK.read_text(), re.MULTILINE))
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "-r", str(LOCK)]
    with log.open("w") as out:
        pip = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=out, text=True)
        try:
            assert pip.stdout is not None
            number = 0
            for line in pip.stdout:
                out.write(line)
                if line.startswith("Collecting ") and sys.stderr.isatty():
                    number += 1
                    name = line.split()[1].partition("==")[0]
                    print(f"\r\033[K  {number}/{total} {name}", end="", file=sys.stderr, flush=True)
            if sys.stderr.isatty():
                print("\r\033[K", end="", file=sys.stderr, flush=True)
            code = pip.wait()
        finally:
            pip.kill()
            pip.wait()
    if code:
        raise ClusterError(f"pip failed ({code}); the end of {log}:{tail(log)}")


if __name__ == "__main__":
    sys.exit(main())
