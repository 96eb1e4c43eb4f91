"""Credentials from mounted files, and AWS Signature Version 4.

It is made by awscrt, which the checksums need anyway. botocore's signer makes the same one, and takes some
MiB and tens of milliseconds of a worker's start for what it imports.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from awscrt.auth import (
    AwsCredentialsProvider,
    AwsSignedBodyHeaderType,
    AwsSigningConfig,
    aws_sign_request,
)
from awscrt.http import HttpHeaders, HttpRequest

from multipartcopy.api import names

EMPTY_PAYLOAD = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
"""Values of ``x-amz-content-sha256``: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html"""
_SIGN_SECONDS = 60


class Credentials(NamedTuple):
    """In the order in which awscrt wants them; the representation shows no secret."""

    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return "Credentials(...)"


def read_credentials(directory: Path) -> Credentials:
    """Read again for every request: the kubelet replaces the files when the Secret rotates.

    Raises OSError where a file is missing, ValueError for what cannot be a key.
    """
    token = directory / names.SESSION_TOKEN
    return Credentials(
        _read(directory / names.ACCESS_KEY_ID),
        _read(directory / names.SECRET_ACCESS_KEY),
        _read(token) if token.exists() else None,
    )


def _read(file: Path) -> str:
    """Refuses here what http.client would refuse with the whole header in its message."""
    value = file.read_text(errors="replace").strip()
    if not value or not value.isascii() or not value.isprintable():
        raise ValueError(f"{file.name} is empty or not printable ASCII")
    return value


def sign(
    method: str,
    target: str,
    headers: Mapping[str, str],
    payload: str,
    region: str,
    credentials: Credentials | None,
) -> dict[str, str]:
    """``headers`` with the signature over all of them, as of now; without credentials, unsigned.

    ``target`` is path and query, percent-encoded as they go on the wire; ``payload`` is one of the values above.
    https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
    """
    if credentials is None:
        return {**headers, "X-Amz-Content-SHA256": payload}
    config = AwsSigningConfig(
        credentials_provider=AwsCredentialsProvider.new_static(*credentials),
        region=region,
        service="s3",
        # S3 signs a path as it is, where other services encode it once more.
        use_double_uri_encode=False,
        should_normalize_uri_path=False,
        signed_body_value=payload,
        signed_body_header_type=AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256,
    )
    request = HttpRequest(method, target, HttpHeaders(list(headers.items())))
    # With keys at hand it is done at once, by this very thread.
    signed = aws_sign_request(request, config).result(_SIGN_SECONDS)
    return dict(signed.headers)
