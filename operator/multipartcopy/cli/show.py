"""Words, tables and documents: what commands have in common when they print."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from multipartcopy.api.quantity import format_bytes
from multipartcopy.api.reasons import Reason
from multipartcopy.cli.errors import CliError, Exit

UNSEEN = "nobody has looked at it yet: see that the operator runs"
_CALM = tuple(Reason)[: tuple(Reason).index(Reason.SECRET_NOT_FOUND)]
"""Reasons of what makes progress, or is done."""


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Columns as kubectl sets them; the last is not padded."""
    lines = [tuple(header), *(tuple(str(cell) for cell in row) for row in rows)]
    return columns(lines)


def columns(lines: Sequence[Sequence[str]], indent: str = "") -> list[str]:
    widths = [max(map(len, column), default=0) for column in zip(*lines, strict=True)]
    return [
        (indent + "   ".join(c.ljust(w) for c, w in zip(line, widths, strict=True))).rstrip()
        for line in lines
    ]


def document(value: Any, form: str) -> str:
    """``yaml`` or ``json``, in the order that it has."""
    if form == "json":
        return json.dumps(value, indent=2, ensure_ascii=False)
    import yaml

    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True)).rstrip()


def as_stored(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Without who has set which field, as kubectl prints it."""
    meta = {k: v for k, v in resource["metadata"].items() if k != "managedFields"}
    return {name: meta if name == "metadata" else value for name, value in resource.items()}


def items(resources: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """As kubectl prints several."""
    return {
        "apiVersion": "v1",
        "kind": "List",
        "metadata": {},
        "items": [*map(as_stored, resources)],
    }


def duration(seconds: float) -> str:
    """``0m03s``, ``8m32s``, ``2h05m``."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{seconds:02d}s"


def age(seconds: float) -> str:
    """As kubectl's column: ``45s``, ``12m``, ``7h``, ``3d``."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"


def time(text: str | None) -> datetime | None:
    """A timestamp of the API, to the microsecond in some Events."""
    return datetime.fromisoformat(text) if text else None


def since(text: str | None, now: datetime) -> str:
    at = time(text)
    return age((now - at).total_seconds()) if at else ""


def now() -> datetime:
    return datetime.now(UTC)


# What a status says.


def summary(status: Mapping[str, Any]) -> Mapping[str, str]:
    """The condition that says what the copy is about: they share reason and message."""
    return next(iter(status.get("conditions") or []), {})


def trouble(status: Mapping[str, Any]) -> str:
    """What it waits for or tries again, in a sentence; empty where all goes well."""
    said = summary(status)
    if said.get("reason", Reason.INSPECTING) in _CALM or outcome(status):
        return ""
    return f"{said['reason']}: {said['message']}"


def outcome(status: Mapping[str, Any]) -> tuple[Exit, str] | None:
    """Exit status and last words of a copy that has ended."""
    for condition in status.get("conditions") or []:
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            words = f"{condition['reason']}: {condition['message']}"
            return (Exit.DONE if condition["type"] == "Complete" else Exit.FAILED), words
    return None


def phase(status: Mapping[str, Any]) -> str:
    """With the reason where it says more."""
    phase, reason = status.get("phase", "Pending"), summary(status).get("reason", "")
    return phase if reason in ("", phase) else f"{phase} ({reason})"


def rate(status: Mapping[str, Any]) -> str:
    """While it moves: bytes per second, on average since it was begun or resumed."""
    speed = int((status.get("progress") or {}).get("bytesPerSecond", 0))
    return f"{format_bytes(speed)}/s" if speed and not status.get("completionTime") else ""


def left(status: Mapping[str, Any]) -> str:
    progress = status.get("progress") or {}
    speed = int(progress.get("bytesPerSecond", 0))
    if not speed or status.get("completionTime") or status.get("phase") == "Suspended":
        return ""
    if int(progress.get("percent", 0)) < 1:
        return ""  # Only whole parts count as moved: of the first few of a large copy it would be days.
    remaining = int(progress.get("bytesTotal", 0)) - int(progress.get("bytesDone", 0))
    return duration(remaining / speed)


# Asking back.


def confirm(question: str, *, yes: bool) -> None:
    """Raises CliError for a no, and where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CliError(Exit.USAGE, "nobody is there to be asked: write --yes to mean it")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CliError(Exit.REFUSED, "not confirmed, so nothing was done")
