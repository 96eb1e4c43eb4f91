import pytest

from multipartcopy.api.reasons import Reason
from multipartcopy.worker.errors import Side, judge
from multipartcopy.worker.http import parse_error

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
        (DESTINATION, 400, "", Reason.DESTINATION_UNAVAILABLE, RETRY),
    ],
)
def test_judge(side: Side, status: int, code: str, reason: Reason, permanent: bool) -> None:
    assert judge(side, status, code) == (reason, permanent)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"<Error><Code>SlowDown</Code><Message>Less.</Message></Error>", ("SlowDown", "Less.")),
        (b'<Error xmlns="http://x/"><Code>A</Code><RequestId>r</RequestId></Error>', ("A", "")),
        (b"<html><body>502 Bad Gateway", ("", "")),
        (b"", ("", "")),
        (b"<Error><Code>A</Code><Message>" + b"m" * 999 + b"</Message></Error>", ("A", "m" * 200)),
    ],
)
def test_parse_error(body: bytes, expected: tuple[str, str]) -> None:
    assert parse_error(body) == expected
