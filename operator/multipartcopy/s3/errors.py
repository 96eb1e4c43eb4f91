"""What a store's answer to a control call means: the reason, and whether it can pass.

The worker's own table, for the calls that move bytes, is ``worker/errors.py``.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    HTTPClientError,
    ParamValidationError,
)
from botocore.parsers import ResponseParserError

from multipartcopy.api.reasons import Reason
from multipartcopy.s3.answers import readable
from multipartcopy.s3.connections import AnswerError
from multipartcopy.s3.guard import EndpointRefusedError


class Kind(Enum):
    """What the caller can do about it."""

    RETRY = "the same request may succeed later"
    PERMANENT = "no repetition will help"
    DENIED = "permanent, unless the credentials change"
    NO_UPLOAD = "the upload is not there: completed, aborted or never made"
    NO_OBJECT = "there is no such object"
    NO_BUCKET = "there is no such bucket"
    PRECONDITION = "the object is not as the request demanded"
    INVALID_PART = "the store does not have a part as it was named"
    NOT_KEPT = "the request may not be made without what is refused"
    UNSUPPORTED = "the store does not know this feature"
    REFUSED = "we do not speak to that endpoint"


@dataclass
class S3Error(Exception):
    """``side`` is ``source`` or ``destination``; ``code`` is S3's own, or the name of a network error.

    ``place`` names the object for people.
    """

    side: str
    place: str
    operation: str
    kind: Kind
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.side} {self.place}: {self.operation}: {self.code}: {self.message}"

    @property
    def reason(self) -> Reason:
        return _reason(self.kind, self.side)


_CODES = {
    "NoSuchUpload": Kind.NO_UPLOAD,
    "NoSuchKey": Kind.NO_OBJECT,
    "NoSuchVersion": Kind.NO_OBJECT,
    "NotFound": Kind.NO_OBJECT,
    "NoSuchBucket": Kind.NO_BUCKET,
    "PreconditionFailed": Kind.PRECONDITION,
    "InvalidPart": Kind.INVALID_PART,
    "NotImplemented": Kind.UNSUPPORTED,
    "AccessDenied": Kind.DENIED,
    "InvalidAccessKeyId": Kind.DENIED,
    "SignatureDoesNotMatch": Kind.DENIED,
    "XAdminUserNotFound": Kind.DENIED,  # versitygw, with 404
    # Passing, although their HTTP status says that the request was wrong.
    "RequestTimeout": Kind.RETRY,
    "ExpiredToken": Kind.RETRY,
    "TokenRefreshRequired": Kind.RETRY,
    "TemporaryRedirect": Kind.RETRY,
    "InvalidToken": Kind.DENIED,
    "RequestTimeTooSkewed": Kind.RETRY,
    "SlowDown": Kind.RETRY,
    "OperationAborted": Kind.RETRY,
    "ConditionalRequestConflict": Kind.RETRY,
    "BadDigest": Kind.RETRY,
}
_STATUSES = {
    401: Kind.DENIED,
    403: Kind.DENIED,
    408: Kind.RETRY,
    409: Kind.RETRY,
    412: Kind.PRECONDITION,
    429: Kind.RETRY,
    501: Kind.UNSUPPORTED,
}


def kind_of(code: str, status: int, operation: str) -> Kind:
    """By S3's code, else by the HTTP status: a HEAD has no body to hold a code."""
    if code in _CODES:
        return _CODES[code]
    if status == 404:
        # Without a code that we know, only the answer to a HEAD is about the object: to anything else
        # a proxy with no store behind it has spoken.
        head = operation == "HeadObject" and code == "404"
        return Kind.NO_OBJECT if head else Kind.RETRY
    if status in _STATUSES:
        return _STATUSES[status]
    return Kind.PERMANENT if status == 301 or 400 <= status < 500 else Kind.RETRY


def translate(error: Exception, side: str, place: str, operation: str) -> S3Error:
    """From boto's exceptions. The message is the store's own, never a body, a header or a signature.

    Only what is written as an S3 error, in bounds, is taken from an answer: who answers may be no store at
    all, but something that somebody wants to read through us.
    """
    if isinstance(error, ClientError):
        details: dict[str, Any] = dict(error.response.get("Error", {}))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        code, message = readable(details.get("Code"), details.get("Message"))
        code, message = code or str(status), message or f"HTTP status {status}"
        if status == 301 and (region := _region(error)):
            message += f" (the bucket is in the region {region})"
        return S3Error(side, place, operation, kind_of(code, status, operation), code, message)
    refused = error.kwargs.get("error") if isinstance(error, HTTPClientError) else error
    if isinstance(refused, EndpointRefusedError):
        name = Reason.ENDPOINT_REFUSED
        return S3Error(side, place, operation, Kind.REFUSED, name, str(refused))
    if isinstance(error, ResponseParserError):
        # Its own words have the body in them.
        message = "the answer is not S3's"
        return S3Error(side, place, operation, Kind.RETRY, type(error).__name__, message)
    if isinstance(refused, AnswerError):
        return S3Error(side, place, operation, Kind.RETRY, AnswerError.__name__, str(refused))
    assert isinstance(error, BotoCoreError | OSError | ValueError)
    permanent = isinstance(error, ValueError | ParamValidationError)
    kind = Kind.PERMANENT if permanent else Kind.RETRY
    message = str(error)[:300]
    if type(error) is HTTPClientError:
        # The words of an unforeseen one may quote what was to be sent.
        message = "the request could not be sent"
    elif isinstance(error, EndpointConnectionError):
        message = _unconnected(error)
    return S3Error(side, place, operation, kind, type(error).__name__, message)


def _region(error: ClientError) -> str:
    """What AWS says beside a 301, or nothing."""
    headers: Any = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = str(headers.get("x-amz-bucket-region", ""))
    return region if re.fullmatch(r"[a-z0-9-]{1,40}", region) else ""


def _unconnected(error: EndpointConnectionError) -> str:
    """botocore's own words have the whole URL, and not whether it was the name, the port or the network."""
    url = urlsplit(str(error.kwargs.get("endpoint_url")))
    cause: BaseException | None = error.kwargs.get("error")
    while cause is not None and not (isinstance(cause, OSError) and cause.strerror):
        cause = cause.__cause__ or cause.__context__
    why = f": {cause.strerror}" if cause else ""
    return f"could not connect to {url.scheme}://{url.netloc.rpartition('@')[2]}{why}"


def _reason(kind: Kind, side: str) -> Reason:
    match kind:
        case Kind.DENIED:
            return Reason.ACCESS_DENIED
        case Kind.REFUSED:
            return Reason.ENDPOINT_REFUSED
        case Kind.NO_BUCKET:
            return Reason.BUCKET_NOT_FOUND
        case Kind.NO_UPLOAD:
            return Reason.UPLOAD_LOST
        case Kind.NO_OBJECT if side == "source":
            return Reason.SOURCE_NOT_FOUND
        case Kind.PRECONDITION if side == "source":
            return Reason.SOURCE_CHANGED
        case Kind.PRECONDITION:
            return Reason.DESTINATION_CHANGED
        case Kind.NOT_KEPT:
            return Reason.NOT_PRESERVED
        case Kind.INVALID_PART:
            return Reason.PARTS_DISAGREE
        case Kind.RETRY if side == "source":
            return Reason.SOURCE_UNAVAILABLE
        case Kind.RETRY:
            return Reason.DESTINATION_UNAVAILABLE
        case _:
            return Reason.REQUEST_REFUSED
