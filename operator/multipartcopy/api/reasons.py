"""Every reason that a condition, an Event, ``status.lastFailure`` or a worker's report can carry."""

from enum import StrEnum


class Reason(StrEnum):
    """A CamelCase word for programs; the message beside it is for people."""

    # Making progress.
    INSPECTING = "Inspecting"
    CLAIMED = "Claimed"
    UPLOAD_CREATED = "UploadCreated"
    COPYING = "Copying"
    COMPLETING = "Completing"
    VERIFYING = "Verifying"
    ABORTING = "Aborting"
    SUSPENDED = "Suspended"

    # Done.
    COPIED = "Copied"
    ALREADY_EQUAL = "AlreadyEqual"

    # Waiting for somebody or something else; never a failure by itself.
    SECRET_NOT_FOUND = "SecretNotFound"
    SECRET_INVALID = "SecretInvalid"
    SECRET_NOT_ALLOWED = "SecretNotAllowed"
    ENDPOINT_REFUSED = "EndpointRefused"
    DESTINATION_BUSY = "DestinationBusy"
    SOURCE_UNAVAILABLE = "SourceUnavailable"
    DESTINATION_UNAVAILABLE = "DestinationUnavailable"
    QUOTA_EXCEEDED = "QuotaExceeded"
    POD_REFUSED = "PodRefused"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    POD_NOT_STARTING = "PodNotStarting"
    JOB_SUSPENDED = "JobSuspended"
    QUEUED_BY_OPERATOR = "QueuedByOperator"

    # Retried.
    ACCESS_DENIED = "AccessDenied"
    OOM_KILLED = "OOMKilled"
    WORKER_FAILED = "WorkerFailed"
    WORKER_TERMINATED = "WorkerTerminated"
    REPORT_LOST = "ReportLost"
    UPLOAD_LOST = "UploadLost"
    PARTS_DISAGREE = "PartsDisagree"
    CHECKSUM_REFUSED = "ChecksumRefused"
    SERVER_SIDE_REFUSED = "ServerSideRefused"

    # Final.
    SOURCE_NOT_FOUND = "SourceNotFound"
    SOURCE_CHANGED = "SourceChanged"
    SOURCE_UNEXPECTED = "SourceUnexpected"
    BUCKET_NOT_FOUND = "BucketNotFound"
    DESTINATION_EXISTS = "DestinationExists"
    DESTINATION_CHANGED = "DestinationChanged"
    NOT_PRESERVED = "NotPreserved"
    NOT_ENCRYPTED = "NotEncrypted"
    REQUEST_REFUSED = "RequestRefused"
    RANGE_NOT_SUPPORTED = "RangeNotSupported"
    INVALID_SPEC = "InvalidSpec"
    OBJECT_TOO_LARGE = "ObjectTooLarge"
    PART_SIZE_TOO_SMALL = "PartSizeTooSmall"
    LEDGER_TOO_LARGE = "LedgerTooLarge"
    CHECKSUM_MISMATCH = "ChecksumMismatch"
    COMPLETE_UNKNOWN = "CompleteUnknown"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    UPLOAD_LEFT_BEHIND = "UploadLeftBehind"


CANNOT_BEGIN = {
    Reason.SECRET_NOT_FOUND,
    Reason.SECRET_INVALID,
    Reason.SECRET_NOT_ALLOWED,
    Reason.ACCESS_DENIED,
    Reason.ENDPOINT_REFUSED,
    Reason.SOURCE_UNAVAILABLE,
    Reason.DESTINATION_UNAVAILABLE,
}
"""A copy that says so holds up no other."""


def reason_of(text: str) -> Reason:
    """For a word from elsewhere: a worker of another version may know reasons that we do not."""
    try:
        return Reason(text)
    except ValueError:
        return Reason.WORKER_FAILED
