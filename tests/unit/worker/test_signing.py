from pathlib import Path

import pytest

from multipartcopy.worker.http import encode_query
from multipartcopy.worker.signing import UNSIGNED_TRAILER, Credentials, read_credentials, sign

URL = "http://store:9000/b/a%20b?uploadId=x"


def test_every_header_is_signed() -> None:
    headers = {"Host": "store:9000", "Range": "bytes=0-1"}
    signed = sign(
        "GET", URL, headers, UNSIGNED_TRAILER, "eu", Credentials("key", "secret", "token")
    )
    assert signed["X-Amz-Content-SHA256"] == UNSIGNED_TRAILER
    names = "host;range;x-amz-content-sha256;x-amz-date;x-amz-security-token"
    assert f"SignedHeaders={names}, " in signed["Authorization"]
    assert "/eu/s3/aws4_request" in signed["Authorization"]


def test_anonymous_is_unsigned() -> None:
    assert sign("GET", URL, {"Host": "h"}, "p", "eu", None) == {
        "Host": "h",
        "X-Amz-Content-SHA256": "p",
    }


def test_read_credentials(tmp_path: Path) -> None:
    (tmp_path / "AWS_ACCESS_KEY_ID").write_text("key\n")
    (tmp_path / "AWS_SECRET_ACCESS_KEY").write_text("secret")
    assert read_credentials(tmp_path) == Credentials("key", "secret", None)
    (tmp_path / "AWS_SESSION_TOKEN").write_text("token")
    assert read_credentials(tmp_path).token == "token"


@pytest.mark.parametrize("content", [b"", b"se\ncret", b"\xff\xfe", "sécret".encode()])
def test_a_broken_secret_is_not_repeated(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "AWS_ACCESS_KEY_ID").write_text("key")
    (tmp_path / "AWS_SECRET_ACCESS_KEY").write_bytes(content)
    with pytest.raises(ValueError, match="AWS_SECRET_ACCESS_KEY is empty or not printable ASCII"):
        read_credentials(tmp_path)


def test_the_secret_is_not_in_its_representation() -> None:
    assert "secret" not in repr(Credentials("key", "secret", "token"))


def test_encode_query() -> None:
    assert encode_query({}) == ""
    assert encode_query({"partNumber": "1", "uploadId": "a/b+c=d&é~"}) == (
        "?partNumber=1&uploadId=a%2Fb%2Bc%3Dd%26%C3%A9~"
    )
