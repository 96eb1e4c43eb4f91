"""From what was heard of a copy and of a bare Job to a timeline, ratios and verdicts; pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from dev.bench.report import spread
from dev.bench.rows import Verdict, figure
from dev.bench.watch import Seen

Result = dict[str, Any]
Check = Callable[[Seen], bool]
COPY, BARE = "copy", "bare"
COMPLETE = "Complete"
_GOAL = 2.0


def _status(field: str) -> Check:
    return lambda seen: bool(seen.body.get("status", {}).get(field))


def _state(word: str) -> Check:
    """Of a pod's only container."""

    def check(seen: Seen) -> bool:
        statuses = seen.body.get("status", {}).get("containerStatuses", [])
        return any(word in status["state"] for status in statuses)

    return check


_POD: dict[str, tuple[str, Check]] = {
    "the Job is there": ("Job", lambda _: True),
    "its pod is there": ("Pod", lambda _: True),
    "the pod has a node": ("Pod", lambda seen: bool(seen.body["spec"].get("nodeName"))),
    "its container was seen to run": ("Pod", _state("running")),
    "its container was seen to have ended": ("Pod", _state("terminated")),
}
STEPS: dict[str, dict[str, tuple[str, Check]]] = {
    COPY: {
        "the claim is written": ("MultipartCopy", _status("claim")),
        "the upload is recorded": ("MultipartCopy", _status("upload")),
        **_POD,
        "the parts are recorded": ("MultipartCopy", _status("batches")),
        "the intent is written": ("MultipartCopy", _status("completing")),
        COMPLETE: ("MultipartCopy", lambda seen: seen.holds("Complete")),
    },
    BARE: {**_POD, COMPLETE: ("Job", lambda seen: seen.holds("Complete"))},
}


def family(seen: Iterable[Seen], name: str) -> list[Seen]:
    """What is about the object of this name, what it owns, and what that owns, in the order of its coming."""
    events = sorted((event for event in seen if not event.gone), key=lambda event: event.at)
    known = {name}
    for _ in range(2):
        known |= {event.name for event in events if event.owner in known}
    return [event for event in events if event.name in known]


def timeline(what: str, start: float, seen: Iterable[Seen]) -> dict[str, float]:
    """Seconds from the request to each step, by when its client heard of it; what was never seen is not there.

    A container of a moment may have ended before anybody was told that it ran.
    """
    found: dict[str, float] = {}
    for event in seen:
        for step, (kind, check) in STEPS[what].items():
            if step not in found and event.kind == kind and check(event):
                found[step] = round(event.at - start, 3)
    return {step: found[step] for step in STEPS[what] if step in found}


def make_result(rounds: Sequence[dict[str, dict[str, float]]]) -> Result:
    """``rounds``: in each the timelines of a copy and of a bare Job."""
    copies, bares = ([pair[what][COMPLETE] for pair in rounds] for what in (COPY, BARE))
    ratios = [copy / bare for copy, bare in zip(copies, bares, strict=True)]
    return {
        "rounds": len(rounds),
        COPY: figure(copies),
        BARE: figure(bares),
        "ratio_of_medians": round(statistics.median(copies) / statistics.median(bares), 3),
        "ratio": figure(ratios),
        "timeline": {what: _medians([pair[what] for pair in rounds]) for what in (COPY, BARE)},
        "samples": list(rounds),
    }


def _medians(timelines: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Of the steps that were seen in most rounds."""
    steps = dict.fromkeys(step for times in timelines for step in times)
    found = {step: [times[step] for times in timelines if step in times] for step in steps}
    most = {step: times for step, times in found.items() if 2 * len(times) > len(timelines)}
    return {
        step: figure(most[step]) for step in sorted(most, key=lambda s: figure(most[s])["median"])
    }


def verdicts(result: Result) -> list[Verdict]:
    ratio = result["ratio_of_medians"]
    return [
        Verdict(
            "apply to Complete, 1 MiB, beside a bare one-pod Job",
            f"at most {_GOAL:.0f} x",
            f"{ratio:.2f} x of the medians, {spread(result['ratio'], 2)} x round by round",
            ratio <= _GOAL,
        )
    ]


def table(result: Result) -> str:
    """The steps of both in the order of the copy's."""
    copy, bare = result["timeline"][COPY], result["timeline"][BARE]
    lines = [f"{'seconds after the request':<40}{'copy':<22}bare Job"]
    for step, times in copy.items():
        other = spread(bare[step], 2) if step in bare else ""
        lines.append(f"{step:<40}{spread(times, 2):<22}{other}".rstrip())
    return "\n".join(lines)
