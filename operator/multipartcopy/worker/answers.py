"""What the answer to a part must say to be believed.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html
"""

import hashlib
import re
from http.client import HTTPResponse
from typing import NamedTuple

from awscrt.checksums import crc64nvme

from multipartcopy.api.location import CUSTOMER
from multipartcopy.api.reasons import Reason
from multipartcopy.api.report import encode_crc
from multipartcopy.worker.errors import CHANGED, UNAVAILABLE, Failure, Side


class Part(NamedTuple):
    """``offset`` and ``length`` in bytes; ``length`` > 0."""

    number: int
    offset: int
    length: int


class Sums:
    """Of the bytes of a part that have passed: ``crc`` is their CRC64NVME; the MD5 is made on demand."""

    def __init__(self, *, md5: bool) -> None:
        self.crc = 0
        self._md5 = hashlib.md5(usedforsecurity=False) if md5 else None

    def update(self, chunk: memoryview) -> None:
        self.crc = crc64nvme(chunk, self.crc)
        if self._md5:
            self._md5.update(chunk)

    @property
    def md5(self) -> str | None:
        """In hexadecimal digits; None where none was demanded."""
        return self._md5.hexdigest() if self._md5 else None


def check_range(answer: HTTPResponse, part: Part, *, side: Side, size: int, etag: str) -> None:
    """Raises Failure unless the answer is exactly this range of the object that was pinned."""
    header = answer.headers.get("ETag", "")
    found = header.strip('"')
    if answer.status != 206:
        message = f"{side}: a range was answered with {answer.status} instead of 206"
        # Without the object's ETag it is not the object: a proxy's page, which will pass.
        if found != etag:
            raise Failure(UNAVAILABLE[side], message)
        raise Failure(Reason.RANGE_NOT_SUPPORTED, message, permanent=True)
    if header.startswith("W/"):
        # Something in between has rewritten the answer, and the object may be what it was.
        message = f"{side}: the ETag {header} is weak, so the bytes may be others than those stored"
        raise Failure(UNAVAILABLE[side], message)
    if found != etag:
        message = f"{side}: the ETag was {etag}, now it is {found or 'missing'}"
        raise Failure(CHANGED[side], message, permanent=True)
    check_content_range(answer, part, side=side, size=size)


def check_content_range(answer: HTTPResponse, part: Part, *, side: Side, size: int) -> None:
    """Raises Failure unless the answer, a 206, has the bytes of the part of an object of ``size`` bytes."""
    content_range = answer.headers.get("Content-Range", "")
    total = re.fullmatch(r"bytes \d+-\d+/(\d+)", content_range)
    if total and int(total[1]) != size:
        message = f"{side}: the size was {size} bytes, now it is {total[1]}"
        raise Failure(CHANGED[side], message, permanent=True)
    wanted = f"bytes {part.offset}-{part.offset + part.length - 1}/{size}"
    if content_range != wanted:
        message = f"{side}: asked for '{wanted}', answered '{content_range}'"
        raise Failure(Reason.RANGE_NOT_SUPPORTED, message, permanent=True)
    length = answer.headers.get("Content-Length")
    if length is None or "Transfer-Encoding" in answer.headers:
        message = f"{side}: a range was answered in chunks, without its length"
        raise Failure(Reason.RANGE_NOT_SUPPORTED, message, permanent=True)
    if length != str(part.length):
        message = f"{side}: Content-Length is {length} for {part.length} bytes"
        raise Failure(UNAVAILABLE[side], message)


def stored_etag(answer: HTTPResponse) -> str:
    """The ETag of a part that was sent, without quotes. Raises Failure where it was not stored."""
    etag = answer.headers.get("ETag", "").removeprefix("W/").strip('"')
    if answer.status == 200 and etag:
        return etag
    side = Side.DESTINATION
    message = f"{side}: UploadPart answered {answer.status} with the ETag {etag!r}"
    raise Failure(UNAVAILABLE[side], message)


def check_crc(stored: str, crc: int) -> None:
    """Raises Failure unless the CRC64NVME that the store tells, as S3 writes it, is ``crc``."""
    if stored != encode_crc(crc):
        raise _mismatch(f"the CRC64NVME {stored}, sent was {encode_crc(crc)}")


def check_md5(answer: HTTPResponse, etag: str, md5: str) -> None:
    """Raises Failure where the ETag should be an MD5 and is not ``md5``, that of what was sent."""
    if etag != md5 and re.fullmatch("[0-9a-f]{32}", etag) and not _encrypted(answer):
        raise _mismatch(
            f"the ETag {etag}, the MD5 of what was sent is {md5};"
            " if the ETags of this store are no MD5 sums, copy with spec.verification: None"
        )


def check_encryption(answer: HTTPResponse, wanted: str) -> None:
    """Raises Failure where the store has not encrypted a part as it was asked to: some ignore it in silence."""
    found = answer.headers.get("x-amz-server-side-encryption", "none")
    if "x-amz-server-side-encryption-customer-algorithm" in answer.headers:
        found = CUSTOMER
    if wanted and found != wanted:
        message = (
            f"{Side.DESTINATION}: a part was stored with the server-side encryption {found},"
            f" by what its store says, instead of {wanted}"
        )
        raise Failure(Reason.NOT_ENCRYPTED, message, permanent=True)


def _encrypted(answer: HTTPResponse) -> bool:
    """With a key of KMS or of the customer; under S3's own keys an ETag is the MD5.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
    """
    return (
        answer.headers.get("x-amz-server-side-encryption") in ("aws:kms", "aws:kms:dsse")
        or "x-amz-server-side-encryption-customer-algorithm" in answer.headers
    )


def _mismatch(what: str) -> Failure:
    return Failure(Reason.CHECKSUM_MISMATCH, f"{Side.DESTINATION}: the part was stored with {what}")
