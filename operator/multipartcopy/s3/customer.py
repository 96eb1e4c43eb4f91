"""Keys of the customer (SSE-C): with each request for an object goes the key that it is encrypted with.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass, field

ALGORITHM = "AES256"
_SIZE = 32


@dataclass(frozen=True)
class CustomerKey:
    """The key and its MD5, both in base64."""

    key: str = field(repr=False)
    md5: str = field(repr=False)

    def arguments(self) -> dict[str, str]:
        """Of boto's calls."""
        return {
            "SSECustomerAlgorithm": ALGORITHM,
            "SSECustomerKey": self.key,
            "SSECustomerKeyMD5": self.md5,
        }

    def headers(self) -> dict[str, str]:
        name = "x-amz-server-side-encryption-customer"
        return {
            f"{name}-algorithm": ALGORITHM,
            f"{name}-key": self.key,
            f"{name}-key-MD5": self.md5,
        }


def read_key(data: bytes) -> CustomerKey:
    """From 32 bytes, or from their base64. Raises ValueError, which does not show them."""
    raw = data
    if len(data) != _SIZE:
        try:
            raw = base64.b64decode(data.strip(), validate=True)
        except binascii.Error:
            raw = b""
    if len(raw) != _SIZE:
        raise ValueError("must be 32 bytes, or their base64")
    md5 = hashlib.md5(raw, usedforsecurity=False).digest()
    return CustomerKey(base64.b64encode(raw).decode(), base64.b64encode(md5).decode())
