"""ListParts: what the upload already holds.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html
"""

from collections.abc import Iterator
from typing import NamedTuple
from xml.etree import ElementTree

from multipartcopy.api.report import decode_crc
from multipartcopy.worker.errors import UNAVAILABLE, Failure, Side
from multipartcopy.worker.http import Connection
from multipartcopy.worker.signing import EMPTY_PAYLOAD

_PAGE = 1000
"""The most that AWS lists at once."""


class StoredPart(NamedTuple):
    """``etag`` without quotes, ``size`` in bytes, ``crc`` (CRC64NVME) where the store holds one."""

    number: int
    size: int
    etag: str
    crc: int | None


def list_parts(
    connection: Connection, upload_id: str, first: int, last: int
) -> Iterator[StoredPart]:
    """The stored parts numbered ``first`` to ``last``. Raises Failure."""
    marker = first - 1
    while marker < last:
        query = {
            "uploadId": upload_id,
            "part-number-marker": str(marker),
            "max-parts": str(min(last - marker, _PAGE)),
        }
        connection.request("GET", query, {}, EMPTY_PAYLOAD)
        parts, truncated = parse_parts(connection.read(connection.answer()))
        yield from (part for part in parts if first <= part.number <= last)
        if not truncated or not parts:
            return
        before, marker = marker, max(part.number for part in parts)
        if marker <= before:  # it does not know the marker, and would list the same for ever
            return


def parse_parts(body: bytes) -> tuple[list[StoredPart], bool]:
    """One page, and whether more follow. Raises Failure for what is no ListPartsResult."""
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - expat bounds expansion by itself
        return (
            [_part(element) for element in root.iterfind("{*}Part")],
            root.findtext("{*}IsTruncated") == "true",
        )
    except (ElementTree.ParseError, ValueError) as error:
        message = f"{Side.DESTINATION}: not a list of parts: {error}"
        raise Failure(UNAVAILABLE[Side.DESTINATION], message) from error


def _part(element: ElementTree.Element) -> StoredPart:
    crc = element.findtext("{*}ChecksumCRC64NVME")
    return StoredPart(
        int(element.findtext("{*}PartNumber", "")),
        int(element.findtext("{*}Size", "")),
        element.findtext("{*}ETag", "").strip('"'),
        decode_crc(crc) if crc else None,
    )
