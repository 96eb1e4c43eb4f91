"""Copies within one store, which it makes by itself: no byte passes a client. See docs/bench.md."""

from __future__ import annotations

from contextlib import nullcontext

from dev.bench import ours, peers
from dev.bench.contenders import BOTO3, MC, RCLONE, WORKER, Contender
from dev.bench.job import STREAMS
from dev.bench.relay import IMAGE, race
from dev.bench.report import ROOT, Finding, table
from dev.bench.rows import CPU, RSS, WALL, Row, Verdict, human
from dev.bench.stage import GiB, MiB, check_memory, within
from dev.cluster.builds import BUILDS
from dev.cluster.console import say
from dev.cluster.images import build_image, mounted
from dev.cluster.prereqs import install

SCHEME = "one store"
_PART_SIZES = (64 * MiB, GiB)


def run(rounds: int, *, quick: bool) -> Finding:
    size = 256 * MiB if quick else 2 * GiB
    part_sizes = _PART_SIZES[:1] if quick else _PART_SIZES
    install({"openssl": "openssl"})
    check_memory(size, part_sizes[-1])
    with mounted(build_image(IMAGE, "Dockerfile", str(ROOT))) as image:
        rclone, mc = peers.rclone(), peers.mc()
        racing = [
            Contender(WORKER, lambda job: ours.worker(job, image, server_side=True)),
            Contender(RCLONE, lambda job: nullcontext(peers.rclone_within(job, rclone))),
            Contender(MC, lambda job: nullcontext(peers.mc_within(job, mc))),
            Contender(BOTO3, lambda job: nullcontext(peers.boto3_commands(job, server_side=True))),
        ]
        say(f"{SCHEME}: starting it, storing {size / GiB:g} GiB")
        with within(size) as stage:
            rows = race(racing, SCHEME, stage, rounds, part_sizes)
    about = {
        "store": f"MinIO {BUILDS['minio'].version}, on loopback",
        "object": f"{size / GiB:g} GiB of random bytes, {STREAMS} streams, {rounds} rounds",
    }
    right = all(row["sha256_ok"] for row in rows)
    return Finding({"rows": rows}, verdicts(rows), {"The rows": table(rows)}, about, right)


def verdicts(rows: list[Row]) -> list[Verdict]:
    """There is no goal but to be no slower than others: what is measured is the store."""
    good = [row for row in rows if row[CPU] and row["sha256_ok"]]
    found = [
        Verdict(
            "SHA-256 of the results",
            "right in every row",
            f"{len(good)} of {len(rows)} rows",
            len(good) == len(rows),
        )
    ]
    for size in sorted({row["part_size_bytes"] for row in good}):
        times = {
            row["contender"]: row[WALL]["median"] for row in good if row["part_size_bytes"] == size
        }
        if WORKER not in times or len(times) < 2:
            continue
        best = min(seconds for name, seconds in times.items() if name != WORKER)
        ratio = times[WORKER] / best
        what = f"wall time, parts of {human(size)}"
        found.append(Verdict(what, "never more than the best peer's", f"{ratio:.2f} x", ratio <= 1))
    peaks = [row[RSS]["max"] for row in good if row["contender"] == WORKER]
    if peaks:
        peak = max(peaks)
        found.append(
            Verdict("peak RSS", "at most 48 MiB", f"{peak / MiB:.1f} MiB", peak <= 48 * MiB)
        )
    return found
