from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from hypothesis import given
from hypothesis import strategies as st

from multipartcopy.worker.http import encode_query
from multipartcopy.worker.signing import UNSIGNED_TRAILER, Credentials, read_credentials, sign

TARGET = "/b/a%20b?uploadId=x"
HEADER_VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126)).map(str.strip)


def test_every_header_is_signed() -> None:
    headers = {"Host": "store:9000", "Range": "bytes=0-1"}
    signed = sign(
        "GET", TARGET, headers, UNSIGNED_TRAILER, "eu", Credentials("key", "secret", "token")
    )
    assert signed["x-amz-content-sha256"] == UNSIGNED_TRAILER
    names = "host;range;x-amz-content-sha256;x-amz-date;x-amz-security-token"
    assert f"SignedHeaders={names}, " in signed["Authorization"]
    assert "/eu/s3/aws4_request" in signed["Authorization"]


@given(
    key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    upload=st.text(min_size=1).filter(lambda text: text.isprintable()),
    headers=st.dictionaries(
        st.from_regex(r"x-amz-(meta-)?[a-z0-9-]{1,9}", fullmatch=True), HEADER_VALUES
    ),
    token=st.one_of(st.none(), st.text("abc+/=", min_size=1)),
)
def test_it_signs_as_botocore_does(
    key: str, upload: str, headers: dict[str, str], token: str | None
) -> None:
    target = f"/b/{quote(key, safe='/-_.~')}{encode_query({'partNumber': '1', 'uploadId': upload})}"
    reserved = {"x-amz-date", "x-amz-content-sha256", "x-amz-security-token"}
    headers = {"Host": "s:9000"} | {n: v for n, v in headers.items() if n not in reserved}
    credentials = Credentials("key", "secret", token)
    signed = sign("PUT", target, headers, UNSIGNED_TRAILER, "eu", credentials)
    assert signed["Authorization"] == as_botocore(
        target, headers, credentials, signed["X-Amz-Date"]
    )


def as_botocore(target: str, headers: dict[str, str], credentials: Credentials, time: str) -> str:
    """Its signature of the same request at the same time."""

    class Signer(S3SigV4Auth):
        def payload(self, request: AWSRequest) -> str:
            return UNSIGNED_TRAILER

    request = AWSRequest("PUT", f"http://s:9000{target}", headers=headers)
    with pytest.MonkeyPatch.context() as patch:
        now = datetime.strptime(time, "%Y%m%dT%H%M%SZ")
        patch.setattr("botocore.auth.get_current_datetime", lambda: now)
        Signer(credentials, "s3", "eu").add_auth(request)
    return str(request.headers["Authorization"])


def test_anonymous_is_unsigned() -> None:
    assert sign("GET", TARGET, {"Host": "h"}, "p", "eu", None) == {
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
