"""``spec`` of a MultipartCopy. The CRD has validated it and filled in the defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from multipartcopy.api.location import CUSTOMER, HttpLocation, Reference, S3Location


class Overwrite(StrEnum):
    IF_DIFFERENT = "IfDifferent"
    ALWAYS = "Always"
    NEVER = "Never"


class Mode(StrEnum):
    """Which way the bytes shall go; see ``status.mode`` for the one that they go."""

    AUTO = "Auto"
    RELAY = "Relay"
    SERVER_SIDE = "ServerSide"


class VerificationMode(StrEnum):
    """How the bytes are proven to be the same; see ``docs/design.md``, "Proof"."""

    AUTO = "Auto"
    PART_MD5 = "PartMD5"
    READ_BACK = "ReadBack"
    NONE = "None"


class OnSourceChange(StrEnum):
    """What a copy does whose source is no longer the object that was pinned."""

    FAIL = "Fail"
    RESTART = "Restart"


class OnFailure(StrEnum):
    """What becomes of the upload of a copy that has failed."""

    ABORT = "Abort"
    KEEP = "Keep"


class Keep(StrEnum):
    """Whether something of the source besides its bytes is kept; best effort: unless a store does not let us."""

    REQUIRED = "Required"
    BEST_EFFORT = "BestEffort"
    IGNORE = "Ignore"


class Item(StrEnum):
    """What can be kept, as the fields of :class:`Preserve` are named in the API."""

    CONTENT_HEADERS = "contentHeaders"
    METADATA = "metadata"
    TAGS = "tags"
    STORAGE_CLASS = "storageClass"


@dataclass(frozen=True)
class Preserve:
    content_headers: Keep = Keep.BEST_EFFORT
    metadata: Keep = Keep.BEST_EFFORT
    tags: Keep = Keep.IGNORE
    storage_class: Keep = Keep.IGNORE

    def items(self, keep: Keep) -> frozenset[Item]:
        return frozenset(item for item in Item if getattr(self, item.name.lower()) is keep)


class EncryptionType(StrEnum):
    """As in the header ``x-amz-server-side-encryption``."""

    AES256 = "AES256"
    KMS = "aws:kms"


@dataclass(frozen=True)
class ServerSideEncryption:
    type: EncryptionType
    kms_key_id: str | None = None


class ChecksumAlgorithm(StrEnum):
    """Those that what was received can be compared by."""

    CRC64NVME = "CRC64NVME"


@dataclass(frozen=True)
class Checksum:
    """Of a whole object, as S3 writes it."""

    algorithm: ChecksumAlgorithm
    value: str


@dataclass(frozen=True)
class Expected:
    """What the source must be; None for what may be anything."""

    size: int | None = None
    etag: str | None = None
    checksum: Checksum | None = None


@dataclass(frozen=True)
class Source:
    """Exactly one of ``s3`` and ``http``."""

    s3: S3Location | None = None
    http: HttpLocation | None = None
    expect: Expected | None = None

    @property
    def place(self) -> S3Location | HttpLocation:
        place = self.s3 or self.http
        assert place is not None
        return place


@dataclass(frozen=True)
class S3Destination(S3Location):
    """And what the object there is made with, besides its bytes; it wins over what is kept of the source."""

    content_type: str | None = None
    content_encoding: str | None = None
    content_disposition: str | None = None
    content_language: str | None = None
    cache_control: str | None = None
    metadata: Mapping[str, str] | None = None
    tags: Mapping[str, str] | None = None
    storage_class: str | None = None
    server_side_encryption: ServerSideEncryption | None = None

    @property
    def encryption(self) -> str:
        """What the store must say of its encryption, in ``x-amz-server-side-encryption``; empty: anything."""
        if self.sse_customer_key_secret_ref:
            return CUSTOMER
        return self.server_side_encryption.type if self.server_side_encryption else ""

    @property
    def opaque(self) -> bool:
        """Whether the object is encrypted with a key that makes its ETags no MD5s."""
        return self.encryption in (EncryptionType.KMS, CUSTOMER)

    @property
    def location(self) -> S3Location:
        """All of it that a worker needs."""
        return S3Location(**{f.name: getattr(self, f.name) for f in fields(S3Location)})


@dataclass(frozen=True)
class Target:
    s3: S3Destination


@dataclass(frozen=True)
class Toleration:
    """As in a pod."""

    key: str | None = None
    operator: str = "Equal"
    value: str | None = None
    effect: str | None = None
    toleration_seconds: int | None = None


@dataclass(frozen=True)
class Spread:
    """As a pod's ``topologySpreadConstraints``, of the pods of one copy."""

    topology_key: str
    max_skew: int = 1
    when_unsatisfiable: str = "ScheduleAnyway"


@dataclass(frozen=True)
class Worker:
    streams: int | str = 4
    """A number, or Auto."""
    resources: Mapping[str, Any] = field(default_factory=dict)
    max_memory: str | None = None
    """How far the limit in ``resources`` may be raised for workers that were killed at it."""
    labels: Mapping[str, str] | None = None
    annotations: Mapping[str, str] | None = None
    node_selector: Mapping[str, str] | None = None
    tolerations: tuple[Toleration, ...] | None = None
    affinity: Mapping[str, Any] | None = None
    """As in a pod; only the API server reads it."""
    topology_spread_constraints: tuple[Spread, ...] | None = None
    priority_class_name: str | None = None
    runtime_class_name: str | None = None
    image_pull_secrets: tuple[Reference, ...] | None = None


@dataclass(frozen=True)
class Spec:
    source: Source
    destination: Target
    mode: Mode = Mode.AUTO
    part_size: str = "Auto"
    parallelism: int = 4
    bandwidth_limit: str | None = None
    worker: Worker = field(default_factory=Worker)
    overwrite: Overwrite = Overwrite.IF_DIFFERENT
    preserve: Preserve = field(default_factory=Preserve)
    verification: VerificationMode = VerificationMode.AUTO
    on_source_change: OnSourceChange = OnSourceChange.FAIL
    on_failure: OnFailure = OnFailure.ABORT
    suspend: bool = False
    backoff_limit_per_batch: int = 3
    active_deadline_seconds: int | None = None
    ttl_seconds_after_finished: int | None = None
