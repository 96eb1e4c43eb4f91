"""What a store's answer means: worth another try, or final.

https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from enum import StrEnum

from multipartcopy.api.reasons import Reason


class Side(StrEnum):
    SOURCE = "source"
    DESTINATION = "destination"


class Failure(Exception):  # noqa: N818 - retried more often than not
    """A try that went wrong, with words fit for users: no secret, no signature, no response body.

    ``permanent``: no repetition can mend it. ``retry_after``: seconds that the store of ``side``
    asked for. ``throttled``: it said that it is asked too much, so the part is not at fault.
    ``status`` and ``code``: of the answer, where there was one; ``code`` is S3's.
    """

    status = 0
    code = ""

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        permanent: bool = False,
        retry_after: float = 0,
        throttled: bool = False,
        side: Side | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.permanent = permanent
        self.retry_after = retry_after
        self.throttled = throttled
        self.side = side


UNAVAILABLE = {
    Side.SOURCE: Reason.SOURCE_UNAVAILABLE,
    Side.DESTINATION: Reason.DESTINATION_UNAVAILABLE,
}
CHANGED = {
    Side.SOURCE: Reason.SOURCE_CHANGED,
    Side.DESTINATION: Reason.DESTINATION_CHANGED,
}

_FINAL = {
    (Side.SOURCE, "NoSuchKey"): Reason.SOURCE_NOT_FOUND,
    (Side.SOURCE, "NoSuchVersion"): Reason.SOURCE_NOT_FOUND,
    (Side.SOURCE, "NoSuchBucket"): Reason.BUCKET_NOT_FOUND,
    (Side.SOURCE, "InvalidObjectState"): Reason.REQUEST_REFUSED,  # archived; comes with 403
    (Side.DESTINATION, "NoSuchBucket"): Reason.BUCKET_NOT_FOUND,
    (Side.DESTINATION, "NoSuchUpload"): Reason.UPLOAD_LOST,
    (Side.DESTINATION, "NoSuchKey"): Reason.UPLOAD_LOST,  # how some stores say NoSuchUpload
}

_DENIED_CODES = {"InvalidAccessKeyId", "InvalidToken", "XAdminUserNotFound"}
"""Whatever their status: AWS says 400 to some, versitygw 404 to the last."""

_THROTTLING_CODES = {
    "BandwidthLimitExceeded",
    "RequestLimitExceeded",
    "ServerBusy",
    "SlowDown",
    "SlowDownRead",  # MinIO
    "SlowDownWrite",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "TooManyRequestsException",
}
"""As botocore has them, where a store of objects may say so, and MinIO's own."""

_RETRIED_CODES = _THROTTLING_CODES | {
    "BadDigest",
    "ExpiredToken",  # the mounted Secret will rotate
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "RequestTimeTooSkewed",
    "TokenRefreshRequired",
    "XAmzContentChecksumMismatch",
}
_RETRIED_STATUSES = {408, 409, 425, 429, 499}
_REFUSED_STATUSES = {413, 501}
"""Believed without an S3 error code: a proxy's limit for bodies, mostly; what is not implemented."""


def judge(side: Side, status: int, code: str, *, pinned: bool) -> tuple[Reason, bool]:
    """The reason for an answer that is not a success, and whether it is permanent.

    ``code`` is the S3 error code, empty where the answer had none: then a proxy may have spoken,
    and its 404 says nothing about the object. ``pinned`` says that it was asked for a range, with
    If-Match, of an object that was there and that long.
    """
    if pinned and (status == 412 or (status == 416 and code)):
        return CHANGED[side], True
    if pinned and (side, code) == (Side.DESTINATION, "NoSuchKey"):
        return CHANGED[side], True
    if (side, code) in _FINAL:
        return _FINAL[side, code], True
    if code in _RETRIED_CODES or status in _RETRIED_STATUSES:
        return UNAVAILABLE[side], False
    if status in (401, 403) or code in _DENIED_CODES:
        return Reason.ACCESS_DENIED, False
    if status == 404:
        return UNAVAILABLE[side], False  # with a code that we do not know: not about the object
    if status in _REFUSED_STATUSES or (code and (status == 301 or 400 <= status < 500)):
        return Reason.REQUEST_REFUSED, True
    return UNAVAILABLE[side], False


def is_throttled(status: int, code: str, retry_after: float) -> bool:
    """Whether the answer asks for less, now: by its code or status, or by when to come back."""
    return code in _THROTTLING_CODES or status == 429 or (status == 503 and retry_after > 0)
