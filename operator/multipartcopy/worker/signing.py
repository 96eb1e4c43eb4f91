"""Credentials from mounted files, and AWS Signature Version 4 made by botocore."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest

from multipartcopy.api import names

EMPTY_PAYLOAD = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
"""Values of ``x-amz-content-sha256``: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html"""


class Credentials(NamedTuple):
    """Named as botocore's signers expect; the representation shows no secret."""

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
    url: str,
    headers: Mapping[str, str],
    payload: str,
    region: str,
    credentials: Credentials | None,
) -> dict[str, str]:
    """``headers`` with the signature over all of them, as of now; without credentials, unsigned.

    ``url`` is percent-encoded as it goes on the wire; ``payload`` is one of the values above.
    """
    if credentials is None:
        return {**headers, "X-Amz-Content-SHA256": payload}
    request = AWSRequest(method=method, url=url, headers=headers)
    request.context["payload"] = payload
    # Of botocore's own class in all but name, which would cost 2 MiB to import.
    signer = _Signer(credentials, "s3", region)  # type: ignore[arg-type]
    signer.add_auth(request)
    return dict(request.headers.items())


class _Signer(S3SigV4Auth):
    def payload(self, request: AWSRequest) -> str:
        return str(request.context["payload"])
