"""What takes minutes or gigabytes: run by `make test-faults`."""

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.servers import Server
from multipartcopy.api.reasons import Reason
from multipartcopy.reconcile.facts import Limits
from tests.s3.copying import PART, Copy, MiB, Pair, copying, pair
from tests.s3.local_cluster import shortened

PARTS, DAMAGED = 1000, 777
FROM_SOURCE = {"kind": "flip", "at": "answer-body", "offset": 1_000_000, "bit": 5}
TO_DESTINATION = {"kind": "flip", "at": "request-body", "offset": 1_000_000, "bit": 5}


@pytest.fixture(scope="module")
def between(versitygw: Server) -> Iterator[Pair]:
    with pair(versitygw) as made, shortened():
        yield made


@pytest.mark.long
def test_both_stores_away_for_ten_minutes(between: Pair, tmp_path: Path, faults: Any) -> None:
    """With the operator's own patience: nothing ends, and nothing that was proven is sent again."""
    with copying(between, tmp_path) as made:
        made.limits = Limits()
        made.pair.destination.hold(r"^PUT .*[?&]partNumber=4&")
        made.start()
        made.pair.destination.wait_held()
        made.until(lambda: made.parts() == [1, 2, 3])
        for door in (made.pair.source, made.pair.destination):
            door.down()
        made.pair.destination.open("drop")
        made.until_told("DestinationUnavailable")
        time.sleep(600)  # the length of the outage
        assert made.status["phase"] == "Copying"
        for door in (made.pair.source, made.pair.destination):
            door.up()
        assert made.end(400) == Reason.COPIED, made.message
        assert made.stored() == made.data
        assert made.sent_again() == 0
        faults.survived("ten minutes without stores", made.sent_again())


@pytest.fixture
def copy(between: Pair, tmp_path: Path) -> Iterator[Copy]:
    """Of an object whose store tells its CRC64NVME."""
    with copying(between, tmp_path, b"") as made:
        where = {"Bucket": made.bucket, "Key": "from"}
        checksum = {"ChecksumAlgorithm": "CRC64NVME"}
        client = made.client()
        upload = client.create_multipart_upload(**where, **checksum, ChecksumType="FULL_OBJECT")
        parts = []
        for number in range(1, PARTS + 1):
            named = {"PartNumber": number, "UploadId": upload["UploadId"]}
            stored = client.upload_part(**where, **named, **checksum, Body=content(number))
            parts.append(
                {"PartNumber": number} | {k: stored[k] for k in ("ETag", "ChecksumCRC64NVME")}
            )
        client.complete_multipart_upload(
            **where, UploadId=upload["UploadId"], MultipartUpload={"Parts": parts}
        )
        yield made


def content(number: int) -> bytes:
    return number.to_bytes(8, "big") * (PART // 8)


@pytest.mark.long
@pytest.mark.parametrize("way", ["from the source", "to the destination"])
@pytest.mark.parametrize("verification", ["Auto", "PartMD5"])
def test_one_bit_in_one_part_of_a_thousand(
    copy: Copy, way: str, verification: str, faults: Any
) -> None:
    if way == "from the source":
        start = (DAMAGED - 1) * PART
        copy.pair.source.rule("^GET ", FROM_SOURCE, header=rf"^Range: bytes={start}-", times=1)
    else:
        match = rf"^PUT .*[?&]partNumber={DAMAGED}&"
        copy.pair.destination.rule(match, TO_DESTINATION, times=1)
    copy.start(verification=verification)
    assert copy.end(900) == Reason.COPIED, copy.message
    assert copy.pair.source.spent()
    assert copy.pair.destination.spent()
    assert copy.status["verification"]["result"] == "Verified"
    ours, theirs = hashlib.sha256(), hashlib.sha256()
    body = copy.client().get_object(Bucket=copy.bucket, Key="to")["Body"]
    for piece in body.iter_chunks(MiB):
        ours.update(piece)
    for number in range(1, PARTS + 1):
        theirs.update(content(number))
    assert ours.digest() == theirs.digest()
    sent_again = copy.pair.destination.bytes_put() - PARTS * (PART + 8192)
    assert sent_again <= PART
    faults.survived("one bit in one part of a thousand", max(0, sent_again))
