"""Who runs, under what name, and over what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from dev.bench import ours, peers
from dev.bench.job import Job
from dev.bench.measure import Command

WORKER, SPLICE = "multipartcopy", "splice"
RCLONE, MC, BOTO3 = "rclone", "mc", "boto3"
PEERS = (RCLONE, MC, BOTO3)
SCHEMES = ("http", "https")


@dataclass(frozen=True)
class Contender:
    """``commands`` prepares a run, yields what is measured, and afterwards finishes the object."""

    name: str
    commands: Callable[[Job], AbstractContextManager[Sequence[Command]]]
    schemes: tuple[str, ...] = SCHEMES


def contenders(image: Path) -> list[Contender]:
    """All of them, ours from the root of its image; what is not in the cache is got or built first."""
    rclone, mc = peers.rclone(), peers.mc()
    return [
        Contender(WORKER, lambda job: ours.worker(job, image)),
        Contender(RCLONE, lambda job: nullcontext(peers.rclone_commands(job, rclone))),
        Contender(MC, lambda job: nullcontext(peers.mc_commands(job, mc))),
        Contender(BOTO3, lambda job: nullcontext(peers.boto3_commands(job))),
        Contender(SPLICE, ours.splice, ("http",)),
    ]
