"""What the commands say, how they fail, and how they run other programs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


class ClusterError(Exception):
    """Something that went wrong, as one sentence for the person at the keyboard."""

    exit_code = 1


class PrerequisiteError(ClusterError):
    """This machine cannot run the command, and nothing was started."""

    exit_code = 2


def say(message: str) -> None:
    """Progress goes to stderr: stdout carries only what a script may want to read."""
    print(message, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def tail(log: Path, lines: int = 8) -> str:
    """The end of a log, indented, as part of an error message."""
    text = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "".join(f"\n  {line[:300]}" for line in text[-lines:])


def run(
    *command: str | Path,
    input: str | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    timeout: float = 120,
) -> str:
    """Run a short command and return what it printed on stdout."""
    argv: Sequence[str] = [str(word) for word in command]
    try:
        done = subprocess.run(
            argv,
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            env=env,
            text=True,
            capture_output=True,
            timeout=timeout,
        )
    except FileNotFoundError:
        raise ClusterError(f"{argv[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise ClusterError(f"no answer within {duration(timeout)} from: {' '.join(argv)}") from None
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise ClusterError(f"exit {done.returncode} from: {' '.join(argv)}\n{said}")
    return done.stdout


def run_logged(
    log: Path, *command: str | Path, env: Mapping[str, str] | None = None, timeout: float = 1800
) -> None:
    """Run a long command with its output in a log file, whose end is shown if it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    argv = [str(word) for word in command]
    with log.open("w") as out:
        try:
            code: int | str = subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, timeout=timeout
            ).returncode
        except FileNotFoundError:
            raise ClusterError(f"{argv[0]} is not installed") from None
        except subprocess.TimeoutExpired:
            code = f"no end within {duration(timeout)}"
    if code != 0:
        raise ClusterError(f"{argv[0]} failed ({code}); the end of {log}:{tail(log)}")
