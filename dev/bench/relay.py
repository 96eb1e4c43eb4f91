"""The relay beside the others, in rounds; see docs/bench.md."""

from __future__ import annotations

import json
import shutil
import time
from collections import defaultdict
from collections.abc import Sequence

from dev.bench import machine, report
from dev.bench.chart import chart
from dev.bench.contenders import SCHEMES, Contender, contenders
from dev.bench.job import STREAMS
from dev.bench.profile import profile
from dev.bench.report import BUILD, DOCS, ROOT
from dev.bench.rows import Row, human, make_row, verdicts
from dev.bench.stage import GiB, MiB, Sample, Stage, check_memory, run_once, stage
from dev.cluster.console import duration, say
from dev.cluster.images import build_image, mounted
from dev.cluster.prereqs import install

IMAGE = "localhost/multipartcopy:bench"
_PART_SIZES = (8 * MiB, 16 * MiB, 64 * MiB, GiB)
_QUICK_PART_SIZES = (16 * MiB, 64 * MiB)


def run(
    *, size: int | None, rounds: int | None, quick: bool, profile_only: bool, docs: bool
) -> bool:
    """Whether every object was right. Leaves results.json, and with ``docs`` the page and the chart."""
    size = size or (256 * MiB if quick else 2 * GiB)
    rounds = rounds or (1 if quick else 3)
    part_sizes = _QUICK_PART_SIZES if quick else _PART_SIZES
    install({"openssl": "openssl"})
    check_memory(size, part_sizes[-1])
    BUILD.mkdir(parents=True, exist_ok=True)
    with mounted(build_image(IMAGE, "Dockerfile", str(ROOT))) as image:
        everybody = contenders(image)
        about = machine.describe(size, rounds, STREAMS, image)
        rows = [] if profile_only else _measure(everybody, size, rounds, part_sizes, about)
        profiled = "" if quick and not profile_only else profile(everybody, image)
    if profiled:
        (BUILD / "profile.txt").write_text(profiled + "\n")
        print(f"\n{profiled}")
    if docs and rows:
        report.write_page(report.RELAY, report.markdown(rows, about, profiled))
        shutil.copy(BUILD / "bench.svg", DOCS / "bench.svg")
    return all(row["sha256_ok"] for row in rows)


def _measure(
    everybody: Sequence[Contender],
    size: int,
    rounds: int,
    part_sizes: Sequence[int],
    about: dict[str, str],
) -> list[Row]:
    start = time.monotonic()
    rows: list[Row] = []
    for scheme in SCHEMES:
        rows += _measure_scheme(everybody, scheme, size, rounds, part_sizes)
    say(f"measured in {duration(time.monotonic() - start)}")
    subtitle = f"{about['object']}; {about['processor']}; both stores on the same machine"
    (BUILD / "results.json").write_text(json.dumps(rows, indent=2) + "\n")
    (BUILD / "machine.json").write_text(json.dumps(about, indent=2) + "\n")
    (BUILD / "bench.svg").write_text(chart(rows, subtitle))
    print(f"{report.table(rows)}\n\n{report.goals(verdicts(rows))}")
    return rows


def _measure_scheme(
    everybody: Sequence[Contender], scheme: str, size: int, rounds: int, part_sizes: Sequence[int]
) -> list[Row]:
    racing = [contender for contender in everybody if scheme in contender.schemes]
    say(f"{scheme}: starting the stores, storing {size / GiB:g} GiB")
    with stage(scheme, size) as between:
        return race(racing, scheme, between, rounds, part_sizes)


def race(
    racing: Sequence[Contender], scheme: str, between: Stage, rounds: int, part_sizes: Sequence[int]
) -> list[Row]:
    """In rounds, each beginning with another contender: what drifts then drifts for all."""
    samples: dict[tuple[str, int], list[Sample]] = defaultdict(list)
    for number in range(rounds):
        for shift, part_size in enumerate(part_sizes, start=number):
            first = shift % len(racing)
            for contender in (*racing[first:], *racing[:first]):
                sample = run_once(contender, between, part_size)
                samples[contender.name, part_size].append(sample)
                _say_sample(contender, scheme, part_size, number, between.size, sample)
    return [
        make_row(
            contender.name, scheme, part_size, between.size, samples[contender.name, part_size]
        )
        for contender in racing
        for part_size in part_sizes
    ]


def _say_sample(
    contender: Contender, scheme: str, part_size: int, number: int, size: int, sample: Sample
) -> None:
    used = sample.usage
    result = (
        f"{used.cpu_seconds * GiB / size:.2f} s/GiB, {used.peak_rss / MiB:.0f} MiB,"
        f" {used.wall_seconds:.1f} s"
        if used
        else f"failed: {sample.error[:300]}"
    )
    where = f"round {number + 1}, {scheme}, {human(part_size)}"
    say(f"  {where}: {contender.name}: {result}")
