"""The table on the terminal, and what `docs/bench.md` says of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dev.bench.contenders import WORKER
from dev.bench.rows import CGROUP, CPU, RSS, WALL, Row, human, pairs, verdicts
from dev.bench.stage import MiB

BEGIN, END = "<!-- measured -->", "<!-- end of what was measured -->"


def table(rows: Sequence[Row]) -> str:
    """Medians, each with its smallest and largest; and ours as a multiple of each."""
    lines = [
        f"{'':<14}{'part':>8}  {'CPU s/GiB':<19}{'ours':>6}  {'peak RSS, MiB':<17}"
        f"{'cgroup':>7}  {'wall, s':<19}sha256"
    ]
    scheme = ""
    for row in rows:
        if row["scheme"] != scheme:
            scheme = row["scheme"]
            lines.append(scheme)
        part = human(row["part_size_bytes"])
        start = f"  {row['contender']:<12}{part:>8}  "
        if row[CPU] is None:
            lines.append(f"{start}failed: {' '.join(row['error'].split())[-200:]}")
            continue
        cgroup = f"{row[CGROUP]['median'] / MiB:.0f}" if row[CGROUP] else "-"
        lines.append(
            f"{start}{spread(row[CPU], 2):<19}{_ours(rows, row):>6}  "
            f"{spread(row[RSS], 0, MiB):<17}{cgroup:>7}  {spread(row[WALL], 1):<19}"
            f"{'ok' if row['sha256_ok'] else 'WRONG'}"
        )
    return "\n".join(lines)


def spread(figure: Mapping[str, float], digits: int, unit: int = 1) -> str:
    """As "median (min-max)"."""
    median, low, high = (f"{figure[key] / unit:.{digits}f}" for key in ("median", "min", "max"))
    return f"{median} ({low}-{high})"


def goals(rows: Sequence[Row]) -> str:
    return "\n".join(
        f"{'met   ' if verdict.met else 'MISSED'}  {verdict.what}: {verdict.measured}"
        f" (goal: {verdict.goal})"
        for verdict in verdicts(rows)
    )


def markdown(rows: Sequence[Row], machine: Mapping[str, str], profile: str) -> str:
    """The part of docs/bench.md between its two markers."""
    lines = ["| what | goal | measured | |", "|---|---|---|---|"]
    lines += [
        f"| {v.what} | {v.goal} | {v.measured} | {'met' if v.met else '**missed**'} |"
        for v in verdicts(rows)
    ]
    lines += ["", "### The rows", "", "```", table(rows), "```"]
    if profile:
        lines += ["", "### Where the time goes", "", "```", profile.rstrip(), "```"]
    lines += ["", "### The machine", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in machine.items()]
    return "\n".join(lines)


def replace_measured(page: str, text: str) -> str:
    """Raises ValueError for a page without the markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def _ours(rows: Sequence[Row], row: Row) -> str:
    if row["contender"] == WORKER:
        return ""
    ratios: dict[int, Any] = dict(pairs(rows, CPU, row["scheme"], row["contender"]))
    ratio = ratios.get(row["part_size_bytes"])
    return f"{ratio:.2f}x" if ratio else ""
