"""From what was counted before, during and after a copy to a result and verdicts; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dev.bench.ledger.etcd import Counters, Tally, Writes
from dev.bench.ledger.process import Use
from dev.bench.rows import Verdict
from dev.bench.stage import MiB

Result = dict[str, Any]
_RESOURCE_GOAL, _ETCD_GOAL, _RSS_GOAL = 600_000, 64 * MiB, 20 * MiB


@dataclass(frozen=True)
class Snapshot:
    """Of all counters at once; ``at`` in seconds since the epoch."""

    at: float
    etcd: Counters
    requests: Counter[str]
    operator: Use


def make_result(
    *,
    parts: int,
    part_bytes: int,
    batches: int,
    resource_bytes: int,
    idle: tuple[Snapshot, Snapshot],
    copy: tuple[Snapshot, Snapshot],
    tally: Tally,
    fresh: Use,
    samples: Sequence[Use],
) -> Result:
    """``idle`` and ``copy``: before and after; ``samples`` of the operator during the copy and a little longer."""
    before, after = copy
    seconds = after.at - before.at
    resting = idle[1].at - idle[0].at
    idle_etcd, copy_etcd = idle[1].etcd.since(idle[0].etcd), after.etcd.since(before.etcd)
    requests = after.requests - before.requests
    warm = idle[1].operator
    return {
        "parts": parts,
        "part_bytes": part_bytes,
        "batches": batches,
        "seconds": round(seconds, 1),
        "resource_bytes": resource_bytes,
        "etcd": {
            "ours": _writes(tally.ours),
            "others": _writes(tally.others),
            "put_bytes": int(copy_etcd.put_bytes),
            "puts": int(copy_etcd.puts),
            "idle_seconds": round(resting, 1),
            "idle_put_bytes_per_second": round(idle_etcd.put_bytes / resting, 1),
        },
        "requests": dict(requests.most_common()),
        "requests_per_part": round(requests.total() / parts, 4),
        "idle_requests": (idle[1].requests - idle[0].requests).total(),
        "operator": {
            "cpu_seconds": round(after.operator.cpu_seconds - before.operator.cpu_seconds, 2),
            "idle_cpu_seconds_per_second": round(
                (idle[1].operator.cpu_seconds - idle[0].operator.cpu_seconds) / resting, 5
            ),
            "rss": {
                "fresh": fresh.rss,
                "warm": warm.rss,
                "peak": after.operator.peak,
                "end": samples[-1].rss,
            },
            "samples": [
                [round(use.at - before.at, 1), round(use.cpu_seconds, 2), use.rss]
                for use in samples
            ],
        },
    }


def _writes(found: Mapping[str, Writes]) -> dict[str, dict[str, int]]:
    """The most bytes first."""
    kinds = sorted(found.items(), key=lambda item: -item[1].bytes)
    return {kind: asdict(writes) for kind, writes in kinds}


def written(result: Result) -> int:
    """Bytes put into etcd for the copy: its resource, Job, pods, Events."""
    return sum(writes["bytes"] for writes in result["etcd"]["ours"].values())


def verdicts(result: Result) -> list[Verdict]:
    parts = f"{result['parts']:,} parts"
    rss = result["operator"]["rss"]
    growth = rss["peak"] - rss["warm"]
    total = written(result)
    copies = result["etcd"]["ours"].get("multipartcopies", {"bytes": 0, "count": 0})
    return [
        Verdict(
            f"the resource with {parts}",
            f"less than {_RESOURCE_GOAL // 1000} KB",
            f"{result['resource_bytes'] / 1000:.0f} KB",
            result["resource_bytes"] < _RESOURCE_GOAL,
        ),
        Verdict(
            f"written to etcd for {parts}",
            f"less than {_ETCD_GOAL // MiB} MiB",
            f"{total / MiB:.1f} MiB, of which the resource is {copies['bytes'] / MiB:.1f} MiB"
            f" in {copies['count']} writes",
            total < _ETCD_GOAL,
        ),
        Verdict(
            f"growth of the operator's RSS with {parts}",
            f"less than {_RSS_GOAL // MiB} MiB",
            f"{growth / MiB:.1f} MiB at its peak, {(rss['end'] - rss['warm']) / MiB:.1f} MiB afterwards",
            growth < _RSS_GOAL,
        ),
    ]


def table(result: Result) -> str:
    return "\n\n".join([_etcd_table(result), _requests_table(result), _operator_table(result)])


def _etcd_table(result: Result) -> str:
    etcd, parts = result["etcd"], result["parts"]
    lines = [
        f"{'written to etcd':<34}{'writes':>8}{'MiB':>9}{'bytes a part':>14}{'largest, KB':>13}"
    ]

    def line(what: str, count: int, size: float, largest: int | None = None) -> None:
        last = f"{largest / 1000:>13.1f}" if largest is not None else ""
        lines.append(f"{what:<34}{count:>8}{size / MiB:>9.2f}{size / parts:>14.0f}{last}")

    for kind, writes in etcd["ours"].items():
        line(f"  the copy's {kind}", writes["count"], writes["bytes"], writes["largest"])
    line("the copy's, together", sum(w["count"] for w in etcd["ours"].values()), written(result))
    others = etcd["others"].values()
    line("the cluster's own", sum(w["count"] for w in others), sum(w["bytes"] for w in others))
    line("etcd's counter of puts", etcd["puts"], etcd["put_bytes"])
    idle = etcd["idle_put_bytes_per_second"] * result["seconds"]
    lines.append(f"{'  of an idle cluster in that time':<34}{'':>8}{idle / MiB:>9.2f}")
    return "\n".join(lines)


def _requests_table(result: Result) -> str:
    total, parts = sum(result["requests"].values()), result["parts"]
    lines = [f"{'requests of the operator':<34}{'':>8}{'a part':>9}"]
    for what, count in result["requests"].items():
        lines.append(f"{'  ' + what:<34}{count:>8}{count / parts:>9.4f}")
    lines.append(f"{'together':<34}{total:>8}{total / parts:>9.4f}")
    return "\n".join(lines)


def _operator_table(result: Result) -> str:
    operator, seconds = result["operator"], result["seconds"]
    rss = operator["rss"]
    cpu, idle = operator["cpu_seconds"], operator["idle_cpu_seconds_per_second"] * seconds
    return "\n".join(
        [
            f"the operator, in {seconds / 60:.1f} minutes of {result['batches']} batches",
            f"  CPU, s: {cpu:.1f} ({cpu / seconds:.1%} of a core); idle, in that time: {idle:.1f}",
            f"  RSS, MiB: new {rss['fresh'] / MiB:.1f}, after a first small copy"
            f" {rss['warm'] / MiB:.1f}, peak {rss['peak'] / MiB:.1f}, in the end"
            f" {rss['end'] / MiB:.1f}",
        ]
    )
