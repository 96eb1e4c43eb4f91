"""What the operator tells a worker: one JSON document in the environment, the same for every pod of a run."""

import functools
import hashlib
import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from multipartcopy.api.codec import from_json, to_json
from multipartcopy.api.location import HttpLocation, S3Location
from multipartcopy.api.ranges import format_ranges, parse_ranges

VERSION = 5
AUTO_STREAMS = 4
"""What ``streams: Auto`` begins with."""


class Read(StrEnum):
    """Which object a task reads again, instead of copying."""

    SOURCE = "source"
    DESTINATION = "destination"


class Validator(StrEnum):
    """By what it is seen that what is at a URL is still what was pinned (RFC 9110, 8.8).

    Only an ``ETag`` that is not weak speaks of bytes. ``Size`` is what is left where the server tells nothing.
    """

    ETAG = "ETag"
    WEAK_ETAG = "WeakETag"
    LAST_MODIFIED = "LastModified"
    SIZE = "Size"


@dataclass(frozen=True)
class UrlSource:
    """A source that is a URL. ``last_modified`` is RFC 3339; without ``ranges`` it is read in one stream."""

    location: HttpLocation
    validator: Validator
    last_modified: str | None = None
    ranges: bool = True


@dataclass(frozen=True)
class Work:
    """The work of one Job index: ``parts`` (as ranges) of ``batch`` that the ledger does not hold yet."""

    batch: int
    parts: str

    def numbers(self) -> list[int]:
        return parse_ranges(self.parts)


def split(parts: Iterable[int], batch_size: int) -> tuple[Work, ...]:
    """Part numbers (1-based) by batch (0-based), batches ascending; none for a batch of which there is no part."""
    batches = itertools.groupby(sorted(parts), lambda number: (number - 1) // batch_size)
    return tuple(Work(batch, format_ranges(numbers)) for batch, numbers in batches)


@dataclass(frozen=True)
class Task:
    """Of one run, from either ``source`` or ``url``.

    ``size`` and ``part_size`` in bytes. ``parts`` (ranges) are those of all indexes together, so that a pod, of
    which a Job keeps one for each index, does not name every batch; ``work[i]`` belongs to Job index ``i``.

    ``checksum`` says that the upload was created with CRC64NVME: each part is then sent with that
    checksum as a trailer, and a part that the store lists with a checksum was sent whole by us,
    unless ``again`` says that it was found to be wrong.
    ``md5`` says that the ETag of each part must be the MD5 of what was sent, where it can be one.
    ``streams`` is how many parts a pod moves at the same time; with ``adaptive`` it is the most, and
    the pod finds the number by itself. ``bytes_per_second`` is what each pod may move; 0: any number.
    ``encryption``: what the answer to each part must say in ``x-amz-server-side-encryption``; empty: anything.

    With ``server_side``, the destination's store is asked to copy each part by itself, and no byte passes;
    a part that it lists whole is then one that it has copied, unless ``again`` says otherwise.

    With ``read``, nothing is copied: the parts' ranges of that side's object, which must have the
    ETag ``read_etag``, are read, and their CRC64NVMEs are reported.
    """

    source_etag: str
    size: int
    destination: S3Location
    upload_id: str
    attempt: int
    run: int
    part_size: int
    streams: int
    checksum: bool
    parts: str
    batch_size: int
    source: S3Location | None = None
    url: UrlSource | None = None
    md5: bool = False
    again: bool = False
    server_side: bool = False
    read: Read | None = None
    read_etag: str = ""
    adaptive: bool = False
    bytes_per_second: int = 0
    encryption: str = ""
    version: int = VERSION

    @functools.cached_property
    def work(self) -> tuple[Work, ...]:
        return split(parse_ranges(self.parts), self.batch_size)

    @property
    def serial(self) -> bool:
        """Whether the source is read from its first byte on, in one stream."""
        return self.url is not None and not self.url.ranges and self.read is not Read.DESTINATION

    def encode(self) -> str:
        return json.dumps(to_json(self), separators=(",", ":"))


def decode_task(text: str) -> Task:
    """Raises ValueError for a task of another version: image and operator do not match."""
    data = json.loads(text)
    if data.get("version") != VERSION:
        raise ValueError(
            f"task version {data.get('version')} is not {VERSION}: operator and worker image differ"
        )
    return from_json(Task, data)


def upload_hash(upload_id: str) -> str:
    """Eight hex digits that tell one upload ID from another; upload IDs can be hundreds of characters."""
    return hashlib.sha256(upload_id.encode()).hexdigest()[:8]
