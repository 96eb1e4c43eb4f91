"""The command line: `python -m dev.bench`."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from dev.bench import machine, report
from dev.bench.chart import chart
from dev.bench.contenders import SCHEMES, Contender, contenders
from dev.bench.job import STREAMS
from dev.bench.profile import profile
from dev.bench.rows import Row, human, make_row
from dev.bench.stage import GiB, MiB, Sample, check_memory, run, stage
from dev.cluster.console import ClusterError, duration, say
from dev.cluster.images import build_image, mounted
from dev.cluster.prereqs import install
from multipartcopy.api.quantity import parse_bytes

_ROOT = Path(__file__).resolve().parents[2]
_BUILD, _DOCS = _ROOT / "build/bench", _ROOT / "docs"
_IMAGE = "localhost/multipartcopy:bench"
_PART_SIZES = (8 * MiB, 16 * MiB, 64 * MiB, GiB)
_QUICK_PART_SIZES = (16 * MiB, 64 * MiB)


def main() -> int:
    options = _parser().parse_args()
    for ending in (signal.SIGTERM, signal.SIGHUP):  # the stores are put away then too
        signal.signal(ending, signal.default_int_handler)
    try:
        return _run(options)
    except ClusterError as error:
        say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.bench", description=__doc__)
    parser.add_argument("--size", type=parse_bytes, metavar="BYTES", help="default 2Gi")
    parser.add_argument("--rounds", type=int, metavar="N", help="default 3")
    parser.add_argument("--quick", action="store_true", help="256Mi, one round, two part sizes")
    parser.add_argument("--profile", action="store_true", help="only where the time goes")
    parser.add_argument("--docs", action="store_true", help="also write docs/bench.md and .svg")
    return parser


def _run(options: argparse.Namespace) -> int:
    size = options.size or (256 * MiB if options.quick else 2 * GiB)
    rounds = options.rounds or (1 if options.quick else 3)
    part_sizes = _QUICK_PART_SIZES if options.quick else _PART_SIZES
    install({"openssl": "openssl"})
    check_memory(size, part_sizes[-1])
    _BUILD.mkdir(parents=True, exist_ok=True)
    with mounted(build_image(_IMAGE, "Dockerfile", str(_ROOT))) as image:
        everybody = contenders(image)
        about = machine.describe(size, rounds, STREAMS, image)
        rows = [] if options.profile else _measure(everybody, size, rounds, part_sizes, about)
        profiled = "" if options.quick and not options.profile else profile(everybody, image)
    if profiled:
        (_BUILD / "profile.txt").write_text(profiled + "\n")
        print(f"\n{profiled}")
    if options.docs and rows:
        page = _DOCS / "bench.md"
        text = report.markdown(rows, about, profiled)
        page.write_text(report.replace_measured(page.read_text(), text))
        shutil.copy(_BUILD / "bench.svg", _DOCS / "bench.svg")
    return 0 if all(row["sha256_ok"] for row in rows) else 1


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
    (_BUILD / "results.json").write_text(json.dumps(rows, indent=2) + "\n")
    (_BUILD / "machine.json").write_text(json.dumps(about, indent=2) + "\n")
    (_BUILD / "bench.svg").write_text(chart(rows, subtitle))
    print(f"{report.table(rows)}\n\n{report.goals(rows)}")
    return rows


def _measure_scheme(
    everybody: Sequence[Contender], scheme: str, size: int, rounds: int, part_sizes: Sequence[int]
) -> list[Row]:
    """In rounds, each beginning with another contender: what drifts then drifts for all."""
    racing = [contender for contender in everybody if scheme in contender.schemes]
    samples: dict[tuple[str, int], list[Sample]] = defaultdict(list)
    say(f"{scheme}: starting the stores, storing {size / GiB:g} GiB")
    with stage(scheme, size) as between:
        for number in range(rounds):
            for shift, part_size in enumerate(part_sizes, start=number):
                first = shift % len(racing)
                for contender in racing[first:] + racing[:first]:
                    sample = run(contender, between, part_size)
                    samples[contender.name, part_size].append(sample)
                    _say_sample(contender, scheme, part_size, number, size, sample)
    return [
        make_row(contender.name, scheme, part_size, size, samples[contender.name, part_size])
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


if __name__ == "__main__":
    sys.exit(main())
