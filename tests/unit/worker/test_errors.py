from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from multipartcopy.api.reasons import Reason
from multipartcopy.s3.answers import parse_error
from multipartcopy.worker.errors import Side, is_throttled, judge
from multipartcopy.worker.http import parse_retry_after

SOURCE, DESTINATION = Side.SOURCE, Side.DESTINATION
FINAL, RETRY = True, False


@pytest.mark.parametrize(
    ("side", "status", "code", "reason", "permanent"),
    [
        (SOURCE, 404, "NoSuchKey", Reason.SOURCE_NOT_FOUND, FINAL),
        (SOURCE, 404, "NoSuchVersion", Reason.SOURCE_NOT_FOUND, FINAL),
        (SOURCE, 404, "NoSuchBucket", Reason.BUCKET_NOT_FOUND, FINAL),
        (SOURCE, 404, "", Reason.SOURCE_UNAVAILABLE, RETRY),
        (SOURCE, 412, "PreconditionFailed", Reason.SOURCE_CHANGED, FINAL),
        (SOURCE, 412, "", Reason.SOURCE_CHANGED, FINAL),
        (SOURCE, 416, "InvalidRange", Reason.SOURCE_CHANGED, FINAL),
        (SOURCE, 403, "AccessDenied", Reason.ACCESS_DENIED, RETRY),
        (SOURCE, 403, "RequestTimeTooSkewed", Reason.SOURCE_UNAVAILABLE, RETRY),
        (SOURCE, 404, "XAdminUserNotFound", Reason.ACCESS_DENIED, RETRY),
        (DESTINATION, 404, "SomethingElse", Reason.DESTINATION_UNAVAILABLE, RETRY),
        (SOURCE, 400, "InternalError", Reason.SOURCE_UNAVAILABLE, RETRY),
        (SOURCE, 416, "", Reason.SOURCE_UNAVAILABLE, RETRY),
        (SOURCE, 403, "", Reason.ACCESS_DENIED, RETRY),
        (SOURCE, 401, "", Reason.ACCESS_DENIED, RETRY),
        (SOURCE, 400, "ExpiredToken", Reason.SOURCE_UNAVAILABLE, RETRY),
        (SOURCE, 403, "InvalidObjectState", Reason.REQUEST_REFUSED, FINAL),
        (SOURCE, 301, "PermanentRedirect", Reason.REQUEST_REFUSED, FINAL),
        (SOURCE, 307, "TemporaryRedirect", Reason.SOURCE_UNAVAILABLE, RETRY),
        (SOURCE, 503, "SlowDown", Reason.SOURCE_UNAVAILABLE, RETRY),
        (SOURCE, 500, "InternalError", Reason.SOURCE_UNAVAILABLE, RETRY),
        (SOURCE, 502, "", Reason.SOURCE_UNAVAILABLE, RETRY),
        (DESTINATION, 404, "NoSuchUpload", Reason.UPLOAD_LOST, FINAL),
        (DESTINATION, 404, "NoSuchKey", Reason.UPLOAD_LOST, FINAL),
        (DESTINATION, 404, "NoSuchBucket", Reason.BUCKET_NOT_FOUND, FINAL),
        (DESTINATION, 404, "", Reason.DESTINATION_UNAVAILABLE, RETRY),
        (DESTINATION, 400, "RequestTimeout", Reason.DESTINATION_UNAVAILABLE, RETRY),
        (DESTINATION, 400, "BadDigest", Reason.DESTINATION_UNAVAILABLE, RETRY),
        (DESTINATION, 400, "XAmzContentChecksumMismatch", Reason.DESTINATION_UNAVAILABLE, RETRY),
        (DESTINATION, 409, "OperationAborted", Reason.DESTINATION_UNAVAILABLE, RETRY),
        (DESTINATION, 429, "TooManyRequests", Reason.DESTINATION_UNAVAILABLE, RETRY),
        (DESTINATION, 412, "PreconditionFailed", Reason.REQUEST_REFUSED, FINAL),
        (DESTINATION, 400, "InvalidArgument", Reason.REQUEST_REFUSED, FINAL),
        (DESTINATION, 400, "EntityTooLarge", Reason.REQUEST_REFUSED, FINAL),
        (DESTINATION, 400, "AuthorizationHeaderMalformed", Reason.REQUEST_REFUSED, FINAL),
        (DESTINATION, 413, "", Reason.REQUEST_REFUSED, FINAL),
        (DESTINATION, 501, "NotImplemented", Reason.REQUEST_REFUSED, FINAL),
        (DESTINATION, 501, "", Reason.REQUEST_REFUSED, FINAL),
        (DESTINATION, 200, "InternalError", Reason.DESTINATION_UNAVAILABLE, RETRY),
        (DESTINATION, 200, "NoSuchUpload", Reason.UPLOAD_LOST, FINAL),
        (DESTINATION, 400, "", Reason.DESTINATION_UNAVAILABLE, RETRY),
    ],
)
def test_judge(side: Side, status: int, code: str, reason: Reason, permanent: bool) -> None:
    """A source is only read; a destination is written to."""
    assert judge(side, status, code, pinned=side is SOURCE) == (reason, permanent)


@pytest.mark.parametrize(
    ("status", "code", "reason", "permanent"),
    [
        (404, "NoSuchKey", Reason.DESTINATION_CHANGED, FINAL),
        (404, "NoSuchBucket", Reason.BUCKET_NOT_FOUND, FINAL),
        (412, "PreconditionFailed", Reason.DESTINATION_CHANGED, FINAL),
        (412, "", Reason.DESTINATION_CHANGED, FINAL),
        (416, "InvalidRange", Reason.DESTINATION_CHANGED, FINAL),
        (404, "", Reason.DESTINATION_UNAVAILABLE, RETRY),
        (416, "", Reason.DESTINATION_UNAVAILABLE, RETRY),
        (503, "SlowDown", Reason.DESTINATION_UNAVAILABLE, RETRY),
    ],
)
def test_judge_of_a_destination_that_is_read(
    status: int, code: str, reason: Reason, permanent: bool
) -> None:
    assert judge(DESTINATION, status, code, pinned=True) == (reason, permanent)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"<Error><Code>SlowDown</Code><Message>Less.</Message></Error>", ("SlowDown", "Less.")),
        (b'<Error xmlns="http://x/"><Code>A</Code><RequestId>r</RequestId></Error>', ("A", "")),
        (b"<html><body>502 Bad Gateway", ("", "")),
        (b"<ListBucketResult><Code>A</Code><Message>m</Message></ListBucketResult>", ("", "")),
        (b"<Error><Code>not a code</Code><Message>m</Message></Error>", ("", "")),
        (b"<Error><Code>" + b"A" * 61 + b"</Code><Message>m</Message></Error>", ("", "")),
        (b"<Error><Message>m</Message></Error>", ("", "")),
        (b"<Error><Code>A</Code><Message>\n two&#9; lines\n</Message></Error>", ("A", "two lines")),
        (b"", ("", "")),
        (b"<Error><Code>A</Code><Message>" + b"m" * 999 + b"</Message></Error>", ("A", "m" * 200)),
    ],
)
def test_parse_error(body: bytes, expected: tuple[str, str]) -> None:
    assert parse_error(body) == expected


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("7200", 60),
        ("9" * 5000, 0),
        ("-1", 0),
        ("", 0),
        ("soon", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 60),
    ],
)
def test_retry_after(value: str, seconds: float) -> None:
    assert parse_retry_after(value) == seconds


def test_retry_after_a_date() -> None:
    date = datetime.now(UTC) + timedelta(seconds=30)
    assert 25 < parse_retry_after(format_datetime(date, usegmt=True)) <= 30


@pytest.mark.parametrize(
    ("status", "code", "retry_after", "throttled"),
    [
        (503, "SlowDown", 0, True),
        (503, "SlowDownWrite", 0, True),
        (400, "RequestLimitExceeded", 0, True),
        (200, "SlowDown", 0, True),  # in the body of an answer that began well
        (429, "", 0, True),
        (503, "ServiceUnavailable", 5, True),
        (503, "ServiceUnavailable", 0, False),
        (503, "", 0, False),
        (500, "InternalError", 5, False),
    ],
)
def test_throttling(status: int, code: str, retry_after: float, throttled: bool) -> None:
    assert is_throttled(status, code, retry_after) is throttled
    if throttled:
        assert judge(DESTINATION, status, code, pinned=False) == (
            Reason.DESTINATION_UNAVAILABLE,
            False,
        )
