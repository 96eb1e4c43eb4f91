"""What a worker tells the operator: its termination message, rewritten after every part.

The kubelet keeps the *last* 4,096 bytes of a longer message, which would cut the head off the JSON
(https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/), so a
worker takes on only as many parts as :func:`capacity` allows for the ETags that it sees.
"""

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from multipartcopy.api.codec import from_json, to_json
from multipartcopy.api.ranges import parse_ranges
from multipartcopy.api.task import Read

VERSION = 3
MESSAGE_LIMIT = 4096
ERROR_MESSAGE_LIMIT = 400
_ENVELOPE = 1024
"""Bytes for everything but ETags and CRCs: the fixed fields, ranges in pieces, an escaped error message."""
_HEX = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class WorkerError:
    """``code`` is a Reason; ``part`` the part number it happened on."""

    code: str
    message: str
    part: int | None = None


@dataclass(frozen=True)
class Report:
    """``parts`` are the finished parts as ranges; ``etags`` (without quotes) and ``crc64nvme`` follow their order.

    ``crc64nvme`` is base64 of 8 big-endian bytes a part; ``sent`` counts the payload bytes that this
    pod sent, repeats included; ``peak_rss`` is in bytes. ``read`` names the side whose object was
    read again: such a report has CRCs and no ETags. One of parts that the store copied by itself has
    ETags and no CRCs.

    On the wire ETags that are 16 bytes in hex, as those of S3 are, take 22 characters each instead of 35: then
    ``etags`` is one base64 of their bytes.
    """

    upload: str
    attempt: int
    run: int
    batch: int
    parts: str = ""
    etags: tuple[str, ...] = ()
    crc64nvme: str = ""
    sent: int = 0
    peak_rss: int = 0
    error: WorkerError | None = None
    read: Read | None = None
    version: int = VERSION

    def encode(self) -> bytes:
        data = to_json(self)
        if self.etags and packable(self.etags):
            data["etags"] = base64.b64encode(bytes.fromhex("".join(self.etags))).decode()
        return json.dumps(data, separators=(",", ":")).encode()


def decode_report(message: str) -> Report | None:
    """The report in a termination message, or None: empty, cut, from another version, or inconsistent."""
    try:
        report = from_json(Report, _unpacked(json.loads(message)))
        numbers = parse_ranges(report.parts)
        crcs = unpack_crcs(report.crc64nvme)
    except (ValueError, TypeError, AttributeError):
        return None
    etags = 0 if report.read else len(numbers)
    bare = report.read is None and not crcs
    if report.version != VERSION or len(report.etags) != etags:
        return None
    if len(crcs) != len(numbers) and not bare:
        return None
    return report


def _unpacked(data: dict[str, Any]) -> dict[str, Any]:
    etags = data.get("etags")
    if not isinstance(etags, str):
        return data
    packed = base64.b64decode(etags, validate=True)
    if len(packed) % 16:
        raise ValueError("not a whole number of ETags")
    return {**data, "etags": [packed[i : i + 16].hex() for i in range(0, len(packed), 16)]}


def packable(etags: Sequence[str]) -> bool:
    return all(map(_HEX.fullmatch, etags))


def capacity(longest_etag: int, *, packed: bool) -> int:
    """How many parts fit into one report: with ETags of up to so many characters, or with ``packed`` ones."""
    etag = 64 if packed else 3 * (longest_etag + 3)
    return (MESSAGE_LIMIT - _ENVELOPE) * 3 // (etag + 32)


def pack_crcs(crcs: list[int]) -> str:
    return base64.b64encode(b"".join(crc.to_bytes(8, "big") for crc in crcs)).decode()


def unpack_crcs(text: str) -> list[int]:
    """Raises ValueError for what :func:`pack_crcs` has not made."""
    packed = base64.b64decode(text, validate=True)
    if len(packed) % 8:
        raise ValueError("not a whole number of CRCs")
    return [int.from_bytes(packed[i : i + 8], "big") for i in range(0, len(packed), 8)]


def encode_crc(crc: int) -> str:
    """As S3 writes it: base64 of 8 big-endian bytes."""
    return base64.b64encode(crc.to_bytes(8, "big")).decode()


def decode_crc(text: str) -> int:
    """Raises ValueError for what is not base64 of 8 bytes."""
    packed = base64.b64decode(text, validate=True)
    if len(packed) != 8:
        raise ValueError(f"{text!r} is not a CRC64")
    return int.from_bytes(packed, "big")
