"""Copies within one store, which it makes by itself: no byte passes a client. See docs/bench.md."""

from __future__ import annotations

from contextlib import nullcontext

from dev.bench import ours, peers
from dev.bench.contenders import BOTO3, MC, RCLONE, WORKER, Contender
from dev.bench.job import STREAMS
from dev.bench.relay import IMAGE, race
from dev.bench.report import ROOT, Finding, table
from dev.bench.rows import Row, Verdict, memory, results, wall
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
    """There is no goal of CPU: what is measured is the store."""
    found = [results(rows), wall(rows, SCHEME), memory(rows)]
    return [verdict for verdict in found if verdict]
