"""``status`` of a MultipartCopy: all that the operator must remember; a restart loses nothing that is not here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Phase(StrEnum):
    """For people; programs read the conditions."""

    PENDING = "Pending"
    PREPARING = "Preparing"
    COPYING = "Copying"
    COMPLETING = "Completing"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SUSPENDED = "Suspended"
    ABORTING = "Aborting"


@dataclass(frozen=True)
class Condition:
    """As in the Kubernetes API: ``status`` is ``True``, ``False`` or ``Unknown``."""

    type: str
    status: str
    reason: str
    message: str
    last_transition_time: str
    observed_generation: int


@dataclass(frozen=True)
class Pin:
    """The source as it was when the copy was claimed; every read of it carries ``If-Match: etag``.

    ``etag`` is without quotes, ``size`` in bytes, ``last_modified`` RFC 3339.
    """

    etag: str
    size: int
    version_id: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True)
class Plan:
    """Recorded with the claim, so that a resume never plans again. Sizes: bytes a part, parts a batch."""

    part_size: int
    part_count: int
    batch_size: int
    batch_count: int


@dataclass(frozen=True)
class Claim:
    """What was there before our first effect: it tells our upload and our object from other people's.

    ``time`` is the destination store's own Date; ``uploads`` are the upload IDs then listed for exactly
    our key; ``destination_etag`` is the ETag of the object then under the key, None for none.
    """

    time: str
    uploads: tuple[str, ...] = ()
    destination_etag: str | None = None


@dataclass(frozen=True)
class Upload:
    """``checksum`` says that the store took CRC64NVME for it, so every part carries one."""

    id: str
    checksum: bool = False


@dataclass(frozen=True)
class Batch:
    """One entry of the ledger: the finished ``parts`` (ranges) of a batch, in their order ``etags`` and CRCs.

    ``crc64nvme`` is base64 of 8 big-endian bytes a part; ``bytes`` the size of the parts together.
    """

    parts: str
    etags: tuple[str, ...]
    crc64nvme: str
    bytes: int


@dataclass(frozen=True)
class Intent:
    """Written before the object is made visible; afterwards the destination is judged against it.

    ``etag`` is the composite ETag that a store with MD5 ETags will give, ``crc64nvme`` (base64) the
    checksum of the whole object.
    """

    size: int
    etag: str
    crc64nvme: str
    if_match: str | None = None
    if_none_match: bool = False


@dataclass(frozen=True)
class Progress:
    parts_done: int
    parts_total: int
    bytes_done: int
    bytes_total: int
    percent: int
    parts: str
    """``3/64``, for the printed column."""
    size: str
    """The source's size for people."""
    bytes_per_second: int = 0
    """Since ``startTime``."""
    bytes_resumed: int = 0
    """Of ``bytesDone``, those done before the copy was last resumed."""


@dataclass(frozen=True)
class Retry:
    """Between two runs: ``failures`` runs in a row recorded nothing new; the next starts ``not_before``.

    In the last ``denied`` of them the stores let no worker in.
    """

    failures: int = 0
    not_before: str | None = None
    denied: int = 0


@dataclass(frozen=True)
class Failing:
    """Why the copy is being given up; it becomes ``Failed`` when nothing is left behind."""

    reason: str
    message: str
    time: str


@dataclass(frozen=True)
class LastFailure:
    reason: str
    message: str
    batch: int | None = None
    part: int | None = None
    exit_code: int | None = None
    time: str | None = None


@dataclass(frozen=True)
class Destination:
    """The object that the copy has made, or found equal already."""

    etag: str
    size: int
    version_id: str | None = None
    crc64nvme: str | None = None


@dataclass(frozen=True)
class Status:
    observed_generation: int = -1
    phase: Phase = Phase.PENDING
    conditions: tuple[Condition, ...] = ()
    start_time: str | None = None
    completion_time: str | None = None
    attempt: int = 0
    run: int = 0
    disagreements: int = 0
    """How often ListParts contradicted the ledger in this attempt."""
    source: Pin | None = None
    plan: Plan | None = None
    claim: Claim | None = None
    upload: Upload | None = None
    batches: Mapping[str, Batch] = field(default_factory=dict)
    completing: Intent | None = None
    failing: Failing | None = None
    retry: Retry | None = None
    progress: Progress | None = None
    last_failure: LastFailure | None = None
    destination: Destination | None = None
