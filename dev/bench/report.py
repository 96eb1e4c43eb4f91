"""The table on the terminal, and what `docs/bench.md` says of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.bench.contenders import WORKER
from dev.bench.rows import CGROUP, CPU, RSS, WALL, Row, Verdict, human, pairs, verdicts
from dev.bench.stage import MiB

ROOT = Path(__file__).resolve().parents[2]
BUILD, DOCS = ROOT / "build/bench", ROOT / "docs"
RELAY = ""
"""The name of the bench that came first, as its markers have it."""


@dataclass(frozen=True)
class Finding:
    """Of one bench: what is kept as JSON, the goals, blocks of text under their headings, how it was measured.

    ``right``: what was copied is what should have been.
    """

    result: dict[str, Any]
    verdicts: Sequence[Verdict]
    blocks: Mapping[str, str]
    about: Mapping[str, str]
    right: bool = True


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


def goals(found: Sequence[Verdict]) -> str:
    return "\n".join(
        f"{'met   ' if verdict.met else 'MISSED'}  {verdict.what}: {verdict.measured}"
        f" (goal: {verdict.goal})"
        for verdict in found
    )


def section(found: Sequence[Verdict], blocks: Mapping[str, str], machine: Mapping[str, str]) -> str:
    """What a page says of a run: the goals, blocks of text as they are under their headings, the machine."""
    lines = ["| what | goal | measured | |", "|---|---|---|---|"]
    lines += [
        f"| {v.what} | {v.goal} | {v.measured} | {'met' if v.met else '**missed**'} |"
        for v in found
    ]
    for heading, text in blocks.items():
        lines += ["", f"### {heading}", "", "```", text.rstrip(), "```"]
    lines += ["", "### The machine", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in machine.items()]
    return "\n".join(lines)


def markdown(rows: Sequence[Row], machine: Mapping[str, str], profile: str) -> str:
    """The part of docs/bench.md between the relay's markers."""
    blocks = {"The rows": table(rows)} | ({"Where the time goes": profile} if profile else {})
    return section(verdicts(rows), blocks, machine)


def write_page(bench: str, text: str) -> None:
    page = DOCS / "bench.md"
    page.write_text(replace_measured(page.read_text(), text, bench))


def replace_measured(page: str, text: str, bench: str = RELAY) -> str:
    """What a bench has measured, between its markers. Raises ValueError for a page without them."""
    name = f": {bench}" if bench else ""
    begin, end = f"<!-- measured{name} -->", f"<!-- end of what was measured{name} -->"
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"the page lacks {begin} or {end}")
    return f"{before}{begin}\n{text}\n{end}{after}"


def _ours(rows: Sequence[Row], row: Row) -> str:
    if row["contender"] == WORKER:
        return ""
    ratios: dict[int, Any] = dict(pairs(rows, CPU, row["scheme"], row["contender"]))
    ratio = ratios.get(row["part_size_bytes"])
    return f"{ratio:.2f}x" if ratio else ""
