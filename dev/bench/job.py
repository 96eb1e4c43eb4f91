"""What every contender is given: one object, where it goes, in what parts, with how many streams."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dev.servers import Server

STREAMS = 4
SOURCE_BUCKET, DESTINATION_BUCKET = "source", "destination"
KEY = "object"


@dataclass(frozen=True)
class Job:
    """``size`` and ``part_size`` in bytes; ``home`` is an empty directory for this run alone."""

    source: Server
    destination: Server
    size: int
    part_size: int
    home: Path

    @property
    def scheme(self) -> str:
        return self.source.endpoint.partition(":")[0]

    @property
    def parts(self) -> int:
        return -(-self.size // self.part_size)

    def length(self, part: int) -> int:
        """Of a part (1-based), in bytes."""
        return min(self.part_size, self.size - (part - 1) * self.part_size)
