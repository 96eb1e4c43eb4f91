"""``status`` of a MultipartCopy: all that the operator must remember; a restart loses nothing that is not here."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

from multipartcopy.api.ranges import parse_ranges
from multipartcopy.api.spec import Item
from multipartcopy.api.task import Read, Validator


class Phase(StrEnum):
    """For people; programs read the conditions."""

    PENDING = "Pending"
    PREPARING = "Preparing"
    COPYING = "Copying"
    COMPLETING = "Completing"
    VERIFYING = "Verifying"
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

    ``etag`` is without quotes, ``size`` in bytes, ``last_modified`` RFC 3339. That of a URL may have
    another ``validator``, and no ``etag``.
    """

    etag: str
    size: int
    version_id: str | None = None
    last_modified: str | None = None
    crc64nvme: str | None = None
    """Of the full object, base64, where its store tells."""
    part_size: int | None = None
    """Bytes a part, of a source that was itself uploaded in several equal parts."""
    encrypted: bool = False
    """With a key of KMS or of the customer: the ETag is then no MD5."""
    expected_crc64nvme: str | None = None
    """What ``spec.source.expect`` demands of the full object; compared before the completion."""

    validator: Validator | None = None
    """Of a URL, whose ETag is never taken for a checksum; None for an object of S3."""
    url: str | None = None
    """For people, without its query; None for an object of S3."""

    @property
    def known_crc64nvme(self) -> str | None:
        """What the bytes must have, whoever says so. Where both do, they were found equal at the claim."""
        return self.crc64nvme or self.expected_crc64nvme


class Way(StrEnum):
    """The bytes go through the workers, or the store copies by itself; or through one worker, in one stream."""

    RELAY = "Relay"
    SERVER_SIDE = "ServerSide"
    SERIAL = "Serial"


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
    """``checksum`` says that the store took CRC64NVME for it, so every part carries one.

    ``md5`` says that the workers compare the ETag of every part with the MD5 of what they sent,
    ``encrypted`` that a key of KMS or of the customer makes the parts' ETags no MD5s.
    """

    id: str
    checksum: bool = False
    md5: bool = False
    encrypted: bool = False


@dataclass(frozen=True)
class Batch:
    """One entry of the ledger: the finished ``parts`` (ranges) of a batch, in their order ``etags`` and CRCs.

    ``crc64nvme`` is base64 of 8 big-endian bytes a part, empty where the store has copied the parts by
    itself; ``bytes`` is the size of the parts together.
    """

    parts: str
    etags: tuple[str, ...]
    crc64nvme: str
    bytes: int


@dataclass(frozen=True)
class Intent:
    """Written before the object is made visible; afterwards the destination is judged against it.

    ``etag`` is the composite ETag that a store with MD5 ETags will give, ``crc64nvme`` (base64) the
    checksum of the whole object; empty for what is not known.
    """

    size: int
    etag: str
    crc64nvme: str
    if_match: str | None = None
    if_none_match: bool = False


@dataclass(frozen=True)
class Reading:
    """How far one side's object has been read again: ``parts`` (ranges) were compared with the ledger.

    ``wrong`` (ranges) are those of them whose bytes are not as recorded; ``etag`` is of the object that is read.
    Of a server-side copy the ledger has no CRCs: ``crc64nvme`` are then those of the source's ``parts``, packed
    as in the ledger, with which the destination's are compared.
    """

    etag: str
    parts: str = ""
    wrong: str = ""
    crc64nvme: str = ""


class Result(StrEnum):
    """What was proven: that what was sent is stored, and that what was received is what the source holds."""

    VERIFIED = "Verified"
    TRANSFER_VERIFIED = "TransferVerified"
    UNVERIFIED = "Unverified"


@dataclass(frozen=True)
class Leg:
    """One leg of the proof: by which ``method``, which ``value`` was found equal, and to what."""

    method: str
    value: str
    compared_with: str


@dataclass(frozen=True)
class Verification:
    """``Verified`` has both legs, ``TransferVerified`` the first alone; ``detail`` says what it rests on, or lacks."""

    result: Result
    detail: str
    transfer: Leg | None = None
    source: Leg | None = None


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

    In the last ``denied`` of them the stores let no worker in; in the last ``killed`` of them all workers
    that failed were killed at one memory limit, ``memory``.
    """

    failures: int = 0
    not_before: str | None = None
    denied: int = 0
    killed: int = 0
    memory: str | None = None


@dataclass(frozen=True)
class Failing:
    """Why the copy is being given up; it becomes ``Failed`` when nothing is left behind."""

    reason: str
    message: str
    time: str


@dataclass(frozen=True)
class SourceChanges:
    """How often the copy had to begin anew with another source.

    ``destination_etag`` is of the object at the destination when it first began, None for none: another one
    that is there by now is somebody else's.
    """

    count: int
    destination_etag: str | None = None


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
class Dropped:
    """What of the source was not kept, though ``spec.preserve`` asks for it; ``reason`` is a sentence for people."""

    item: Item
    reason: str


@dataclass(frozen=True)
class Status:
    observed_generation: int = -1
    phase: Phase = Phase.PENDING
    conditions: tuple[Condition, ...] = ()
    start_time: str | None = None
    completion_time: str | None = None
    attempt: int = 0
    run: int = 0
    source_changes: SourceChanges | None = None
    lost_uploads: int = 0
    """How often a new attempt was begun because the upload of the last was lost."""
    disagreements: int = 0
    """How often parts were not as recorded, and were compared, sent or read again."""
    source: Pin | None = None
    mode: Way | None = None
    """With the plan that was made for it; None for zero bytes."""
    server_side_refused: str | None = None
    """Why it is ``Relay`` although source and destination have one endpoint."""
    plan: Plan | None = None
    claim: Claim | None = None
    upload: Upload | None = None
    dropped: tuple[Dropped, ...] = ()
    batches: Mapping[str, Batch] = field(default_factory=dict)
    without_checksum: bool = False
    """The store took CRC64NVME for the upload and then refused it with the parts: this attempt goes without."""
    source_reading: Reading | None = None
    completing: Intent | None = None
    destination_reading: Reading | None = None
    failing: Failing | None = None
    handled_retry: str | None = None
    """What the annotation that asks to try again had when it was last acted on, or was found too early."""
    resuming: bool = False
    """The upload was kept: whether it can be taken up again is to be seen first."""
    retry: Retry | None = None
    worker_memory: str | None = None
    """The memory limit that workers were found to need, within ``spec.worker.maxMemory``."""
    progress: Progress | None = None
    last_failure: LastFailure | None = None
    destination: Destination | None = None
    verification: Verification | None = None

    @property
    def over(self) -> bool:
        """By evidence, not by the phase alone, which somebody may have edited."""
        made = self.phase is Phase.SUCCEEDED and self.destination is not None
        failed = self.phase is Phase.FAILED and self.claim is None
        return self.kept or (self.completion_time is not None and (made or failed))

    @property
    def kept(self) -> bool:
        """It has failed, and its upload waits for another try, or for the deletion of the resource."""
        ended = self.phase is Phase.FAILED and self.completion_time is not None
        return ended and bool(self.failing and self.claim and self.upload)

    @property
    def torn(self) -> bool:
        """It names what cannot be without what it lacks: somebody has edited it."""
        begun = self.claim and self.source and self.plan
        sent = self.batches or self.completing or self.reading
        if not begun:
            names = self.claim or self.source or self.plan or self.upload or self.resuming
            return bool(names or sent)
        unmade = self.destination_reading and self.destination is None
        return bool(unmade or (sent and self.upload is None and self.plan and self.plan.part_count))

    @property
    def server_side(self) -> bool:
        return self.mode is Way.SERVER_SIDE

    @property
    def reading(self) -> Reading | None:
        """How far an object has been read again; that of the destination follows that of the source."""
        source, read = self.source_reading, 0
        if source and self.destination_reading and self.plan:
            with suppress(ValueError):  # It was edited.
                read = len(parse_ranges(source.parts))
            if read < self.plan.part_count:
                return source
        return self.destination_reading or source

    @property
    def stage(self) -> Read | None:
        """What a run does now: it copies (None) while the ledger lacks a part, then it reads a side again."""
        if self.plan is None or self.reading is None:
            return None
        recorded = sum(len(entry.etags) for entry in self.batches.values())
        if recorded < self.plan.part_count:
            return None
        return Read.SOURCE if self.reading is self.source_reading else Read.DESTINATION
