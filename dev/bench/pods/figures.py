"""From what a throttled store sent to whom and when, to rates, rows and verdicts; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dev.bench.pods.throttle import SLOT
from dev.bench.report import spread
from dev.bench.rows import Verdict, figure
from dev.bench.stage import MiB
from dev.lab import LabError

Row = dict[str, Any]
Traffic = Sequence[tuple[int, str, int]]
"""Slot of the time since the epoch, client, bytes."""
STEADY, WITH_START = "steady_bytes_per_second", "with_start_bytes_per_second"
STEADY_LINEAR, WITH_START_LINEAR = "steady_of_linear", "with_start_of_linear"
_GOAL = 0.9


class TooShortError(LabError):
    """The pods were never all at work at the same time, or others than were expected."""


@dataclass(frozen=True)
class Flow:
    """While all clients were served; ``begin`` and ``end`` of it all in seconds since the epoch."""

    bytes_per_second: float
    seconds: float
    begin: float
    end: float


@dataclass(frozen=True)
class Sample:
    """One copy. Seconds: from the phase Copying to the last byte, and from the request to Complete.

    ``busy`` is the share of the machine's CPU time that was used, by whomever.
    """

    pods: int
    size: int
    flow: Flow
    copying_seconds: float
    seconds: float
    busy: float
    sha256_ok: bool


def flow(traffic: Traffic, clients: int, least: int) -> Flow:
    """Of the ``clients`` that received at least so many bytes; others only asked for a HEAD.

    All are at work from the first byte of the last of them until the last byte of the first; of the slots
    in which that begins and ends nothing is counted.
    """
    received: Counter[str] = Counter()
    for _, client, count in traffic:
        received[client] += count
    workers = {client for client, count in received.items() if count >= least}
    if len(workers) != clients:
        raise TooShortError(f"{len(workers)} clients were served, not {clients}")
    slots = {client: [s for s, who, _ in traffic if who == client] for client in workers}
    begin, end = max(map(min, slots.values())) + 1, min(map(max, slots.values()))
    if end <= begin:
        raise TooShortError("the pods were never all at work")
    total = sum(n for slot, who, n in traffic if who in workers and begin <= slot < end)
    seconds = (end - begin) * SLOT
    first, last = min(map(min, slots.values())), max(map(max, slots.values()))
    return Flow(total / seconds, seconds, first * SLOT, (last + 1) * SLOT)


def make_rows(rounds: Sequence[Mapping[int, Sample]]) -> list[Row]:
    """One for each number of pods; what is linear is reckoned from the one pod of the same round."""
    rows = []
    for pods in sorted(rounds[0]):
        samples = [by_pods[pods] for by_pods in rounds]
        steady = [s.flow.bytes_per_second for s in samples]
        started = [_with_start(s) for s in samples]
        alone = [by_pods[min(by_pods)] for by_pods in rounds]
        factors = [pods / one.pods for one in alone]
        rows.append(
            {
                "pods": pods,
                "size_bytes": samples[0].size,
                STEADY: figure(steady),
                STEADY_LINEAR: figure(
                    [
                        rate / one.flow.bytes_per_second / factor
                        for rate, one, factor in zip(steady, alone, factors, strict=True)
                    ]
                ),
                WITH_START: figure(started),
                WITH_START_LINEAR: figure(
                    [
                        rate / _with_start(one) / factor
                        for rate, one, factor in zip(started, alone, factors, strict=True)
                    ]
                ),
                "steady_seconds": figure([s.flow.seconds for s in samples]),
                "copying_seconds": figure([s.copying_seconds for s in samples]),
                "seconds": figure([s.seconds for s in samples]),
                "busy": figure([s.busy for s in samples]),
                "sha256_ok": all(s.sha256_ok for s in samples),
            }
        )
    return rows


def _with_start(sample: Sample) -> float:
    return sample.size / sample.copying_seconds


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    good = sum(row["sha256_ok"] for row in rows)
    most = rows[-1]["pods"]
    worst = min(rows, key=lambda row: float(row[STEADY_LINEAR]["median"]))
    least = worst[STEADY_LINEAR]["median"]
    return [
        Verdict("SHA-256 of the results", "right in every row", f"{good} of {len(rows)} rows",
                good == len(rows)),
        Verdict(
            f"throughput of 1 to {most} pods, while all are at work",
            f"at least {_GOAL:.0%} of linear",
            f"at least {least:.1%}, with {worst['pods']} pods",
            least >= _GOAL,
        ),
    ]  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    lines = [
        f"{'':>4}  {'all at work':<35}{'with the start of the pods':<34}{'':>11}{'':>6}",
        f"{'pods':>4}  {'MiB/s':<20}{'of linear, %':<15}{'MiB/s':<19}{'of linear, %':<15}"
        f"{'Complete, s':<17}{'CPU busy':<10}sha256",
    ]
    for row in rows:
        lines.append(
            f"{row['pods']:>4}  {spread(row[STEADY], 2, MiB):<20}{_percent(row[STEADY_LINEAR]):<15}"
            f"{spread(row[WITH_START], 2, MiB):<19}{_percent(row[WITH_START_LINEAR]):<15}"
            f"{spread(row['seconds'], 1):<17}{row['busy']['median']:<10.0%}"
            f"{'ok' if row['sha256_ok'] else 'WRONG'}"
        )
    return "\n".join(lines)


def _percent(figure: Mapping[str, float]) -> str:
    return spread({key: 100 * value for key, value in figure.items()}, 0)
