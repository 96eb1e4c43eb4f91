"""From samples to the rows of results.json, and from rows to verdicts; pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dev.bench.contenders import MC, PEERS, RCLONE, SCHEMES, SPLICE, WORKER
from dev.bench.stage import GiB, MiB, Sample

Row = dict[str, Any]
CPU, RSS, CGROUP, WALL = (
    "cpu_seconds_per_gib",
    "peak_rss_bytes",
    "peak_cgroup_bytes",
    "wall_seconds",
)


def make_row(
    contender: str, scheme: str, part_size: int, size: int, samples: Sequence[Sample]
) -> Row:
    """Each figure is an object of ``median``, ``min`` and ``max``, or null where a run failed."""
    row: Row = {"contender": contender, "scheme": scheme, "part_size_bytes": part_size}
    used = [sample.usage for sample in samples if sample.usage]
    if len(used) < len(samples) or not samples:
        errors = [sample.error for sample in samples if sample.error]
        none = dict.fromkeys((CPU, RSS, CGROUP, WALL))
        return row | none | {"sha256_ok": False, "error": errors[0] if errors else "not run"}
    peaks = [usage.peak_cgroup for usage in used if usage.peak_cgroup is not None]
    return row | {
        CPU: figure([usage.cpu_seconds * GiB / size for usage in used]),
        RSS: figure([usage.peak_rss for usage in used]),
        CGROUP: figure(peaks) if peaks else None,
        WALL: figure([usage.wall_seconds for usage in used]),
        "sha256_ok": all(sample.sha256_ok for sample in samples),
    }


def figure(values: Sequence[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
    }


@dataclass(frozen=True)
class Verdict:
    """A goal and what was measured, of which ``met`` counts the worst."""

    what: str
    goal: str
    measured: str
    met: bool


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """Of the goals that these rows can tell something of."""
    found = [
        results(rows),
        _ratio(rows, CPU, "http", RCLONE, 1 / 5, "1/5 of rclone's"),
        _ratio(rows, CPU, "http", MC, 1 / 3, "1/3 of mc's"),
        _ratio(rows, CPU, "http", SPLICE, 2.5, "2.5 x the splice floor"),
        _ratio(rows, CPU, "https", RCLONE, 1 / 3, "1/3 of rclone's"),
        memory(rows),
        *(_memory_spread(rows, scheme) for scheme in SCHEMES),
        wall(rows, "http"),
        wall(rows, "https"),
    ]
    return [verdict for verdict in found if verdict]


def pairs(rows: Sequence[Row], figure: str, scheme: str, other: str) -> list[tuple[int, float]]:
    """Ours as a multiple of the other's, by part size, from the medians."""
    return [
        (size, _median(row, figure) / _median(theirs, figure))
        for size, row in _by_size(rows, scheme, WORKER).items()
        if (theirs := _by_size(rows, scheme, other).get(size))
    ]


def _ratio(
    rows: Sequence[Row], figure: str, scheme: str, other: str, limit: float, goal: str
) -> Verdict | None:
    found = pairs(rows, figure, scheme, other)
    if not found:
        return None
    return _verdict(f"CPU per GiB, {scheme}", f"at most {goal}", found, limit)


def _verdict(what: str, goal: str, found: list[tuple[int, float]], limit: float) -> Verdict:
    size, worst = max(found, key=lambda pair: pair[1])
    best = min(ratio for _, ratio in found)
    measured = f"{best:.2f} to {worst:.2f} x, the most at {human(size)}"
    return Verdict(what, goal, measured, worst <= limit)


def results(rows: Sequence[Row]) -> Verdict:
    good = len(_good(rows))
    return Verdict(
        "SHA-256 of the results",
        "right in every row",
        f"{good} of {len(rows)} rows",
        good == len(rows),
    )


def memory(rows: Sequence[Row]) -> Verdict | None:
    peaks = [row[RSS]["max"] for row in _good(rows) if row["contender"] == WORKER]
    if not peaks:
        return None
    goal = 48 * MiB
    return Verdict("peak RSS", "at most 48 MiB", f"{max(peaks) / MiB:.1f} MiB", max(peaks) <= goal)


def _memory_spread(rows: Sequence[Row], scheme: str) -> Verdict | None:
    medians = [_median(row, RSS) for row in _by_size(rows, scheme, WORKER).values()]
    if len(medians) < 2:
        return None
    spread = max(medians) - min(medians)
    what = f"peak RSS over the part sizes, {scheme}"
    return Verdict(what, "within 4 MiB", f"within {spread / MiB:.1f} MiB", spread <= 4 * MiB)


def wall(rows: Sequence[Row], scheme: str) -> Verdict | None:
    best: dict[int, float] = {}
    for peer in PEERS:
        for size, ratio in pairs(rows, WALL, scheme, peer):
            best[size] = max(best.get(size, 0), ratio)
    if not best:
        return None
    return _verdict(f"wall time, {scheme}", "never more than the best peer's", [*best.items()], 1.0)


def _by_size(rows: Iterable[Row], scheme: str, contender: str) -> dict[int, Row]:
    return {
        row["part_size_bytes"]: row
        for row in _good(rows)
        if row["scheme"] == scheme and row["contender"] == contender
    }


def _good(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row[CPU] and row["sha256_ok"]]


def _median(row: Row, figure: str) -> float:
    return float(row[figure]["median"])


def human(size: int) -> str:
    return f"{size // GiB} GiB" if size % GiB == 0 else f"{size // MiB} MiB"
