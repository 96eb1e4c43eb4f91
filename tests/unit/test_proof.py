"""What is proven of the bytes, by what, and what speaks against them."""

from dataclasses import replace

import pytest

from multipartcopy.api.spec import VerificationMode as Mode
from multipartcopy.api.status import Pin, Plan, Reading, Result, Status
from multipartcopy.reconcile import ledger, proof
from multipartcopy.s3.control import ObjectInfo
from tests.unit.facts import FULL, PLAN, SIZE, UPLOAD, etag

PARTS = ledger.parts_of(FULL.batches)
CRC = ledger.object_crc(FULL)
COMPOSITE = ledger.composite_etag(PARTS) or ""
OTHER_COMPOSITE = "0" * 32 + "-20"
OTHER_CRC = "AAAAAAAAAAA="
PLAIN = Pin("d" * 32, SIZE)
LAYOUT = Pin(COMPOSITE, SIZE, part_size=PLAN.part_size)
CHECKSUM = replace(PLAIN, crc64nvme=CRC)
WRONG_LAYOUT = replace(LAYOUT, etag=OTHER_COMPOSITE)
WRONG_CHECKSUM = replace(PLAIN, crc64nvme=OTHER_CRC)
STORED = ObjectInfo(size=SIZE, etag=COMPOSITE, crc64nvme=CRC)
MD5_ONLY = ObjectInfo(size=SIZE, etag=COMPOSITE)
OPAQUE = ObjectInfo(size=SIZE, etag="opaque")
BY_MD5 = replace(UPLOAD, checksum=False, md5=True)
READ = Reading("e", "1-20")


def full(pin: Pin, **changes: object) -> Status:
    return replace(FULL, source=pin, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "method"),
    [
        (full(CHECKSUM), "CRC64NVME"),
        (full(LAYOUT), "CompositeETag"),
        (full(PLAIN, source_reading=READ), "ReadBack"),
        (full(PLAIN), None),
        (full(PLAIN, source_reading=Reading("e", "1-19")), None),
        (full(PLAIN, source_reading=Reading("e", "1-20", "3")), None),
        (full(WRONG_LAYOUT), None),
        (full(WRONG_CHECKSUM), None),
        (full(replace(LAYOUT, part_size=8 << 20)), None),
        (full(replace(LAYOUT, encrypted=True)), None),
        (full(replace(LAYOUT, etag="opaque")), None),
    ],
)
def test_the_source_leg(status, method):
    leg = proof.source_leg(status)
    assert (leg.method if leg else None) == method


def test_one_part_is_proven_by_the_sources_plain_md5():
    plan = Plan(SIZE, 1, 4, 1)
    one = ledger.write_parts(plan, SIZE, {1: ledger.Part(etag(1), 5)})
    status = full(replace(PLAIN, etag=etag(1)), plan=plan, batches=one)
    leg = proof.source_leg(status)
    assert leg
    assert (leg.method, leg.value) == ("MD5", etag(1))
    stored = ObjectInfo(size=SIZE, etag=ledger.composite_etag({1: ledger.Part(etag(1), 5)}) or "")
    assert proof.conclude(status, stored, Mode.AUTO).result is Result.VERIFIED
    other = full(PLAIN, plan=plan, batches=one)
    assert proof.source_leg(other) is None
    assert proof.doubt(other)


@pytest.mark.parametrize(
    ("status", "doubted"),
    [
        (full(CHECKSUM), False),
        (full(LAYOUT), False),
        (full(PLAIN), False),
        (full(WRONG_CHECKSUM), True),
        (full(WRONG_LAYOUT), True),
        (full(replace(WRONG_LAYOUT, crc64nvme=CRC)), False),
        (full(WRONG_LAYOUT, upload=replace(UPLOAD, encrypted=True)), False),
        (full(replace(WRONG_LAYOUT, encrypted=True)), False),
    ],
)
def test_doubt_has_the_source_read_again_before_anything_is_visible(status, doubted):
    assert (proof.doubt(status) is not None) is doubted
    assert proof.must_read_source(status, Mode.AUTO) is doubted
    assert proof.must_read_source(status, Mode.READ_BACK)
    assert not proof.must_read_source(status, Mode.NONE)
    assert not proof.must_read_source(replace(status, source_reading=READ), Mode.AUTO)


def test_a_second_reading_removes_an_etags_doubt_and_not_a_checksums():
    assert not proof.contradiction(full(WRONG_LAYOUT, source_reading=READ), Mode.AUTO)
    assert proof.contradiction(full(WRONG_CHECKSUM, source_reading=READ), Mode.AUTO)
    assert not proof.contradiction(full(CHECKSUM, source_reading=READ), Mode.AUTO)


@pytest.mark.parametrize(
    ("status", "head", "result", "methods"),
    [
        (full(CHECKSUM), STORED, Result.VERIFIED, ("CRC64NVME", "CRC64NVME")),
        (full(LAYOUT), STORED, Result.VERIFIED, ("CRC64NVME", "CompositeETag")),
        (full(PLAIN), STORED, Result.TRANSFER_VERIFIED, ("CRC64NVME", None)),
        (full(WRONG_LAYOUT), STORED, Result.TRANSFER_VERIFIED, ("CRC64NVME", None)),
        (full(LAYOUT), MD5_ONLY, Result.VERIFIED, ("CompositeETag", "CompositeETag")),
        (full(PLAIN, upload=BY_MD5), MD5_ONLY, Result.TRANSFER_VERIFIED, ("PartMD5", None)),
        (full(CHECKSUM, upload=BY_MD5), MD5_ONLY, Result.VERIFIED, ("PartMD5", "CRC64NVME")),
        (full(PLAIN), MD5_ONLY, Result.UNVERIFIED, (None, None)),
        (
            full(PLAIN, upload=BY_MD5),
            replace(MD5_ONLY, etag=OTHER_COMPOSITE),
            Result.UNVERIFIED,
            (None, None),
        ),
        (full(CHECKSUM), OPAQUE, Result.UNVERIFIED, (None, "CRC64NVME")),
        (
            full(CHECKSUM, upload=BY_MD5),
            replace(MD5_ONLY, encrypted_by_key=True),
            Result.UNVERIFIED,
            (None, "CRC64NVME"),
        ),
        (
            full(PLAIN, source_reading=READ, destination_reading=READ),
            OPAQUE,
            Result.VERIFIED,
            ("ReadBack", "ReadBack"),
        ),
        (
            full(PLAIN, destination_reading=READ),
            OPAQUE,
            Result.TRANSFER_VERIFIED,
            ("ReadBack", None),
        ),
    ],
)
def test_verified_needs_both_legs(status, head, result, methods):
    found = proof.conclude(status, head, Mode.AUTO)
    legs = (found.transfer, found.source)
    assert (found.result, tuple(leg.method if leg else None for leg in legs)) == (result, methods)


def test_none_claims_nothing():
    found = proof.conclude(full(CHECKSUM), STORED, Mode.NONE)
    assert (found.result, found.transfer, found.source) == (Result.UNVERIFIED, None, None)


A = ObjectInfo(size=SIZE, etag="a" * 32, crc64nvme="x")
B = ObjectInfo(size=SIZE, etag="b" * 32)


@pytest.mark.parametrize(
    ("destination", "method"),
    [
        (replace(A, crc64nvme=None), "MD5"),
        (replace(A, crc64nvme="y"), None),
        (replace(B, crc64nvme="x"), "CRC64NVME"),
        (B, None),
        (replace(A, size=SIZE + 1), None),
        (replace(A, crc64nvme=None, encrypted_by_key=True), None),
    ],
)
def test_equal_already_needs_evidence(destination, method):
    found = proof.equality(A, destination, stamped=False)
    if method:
        assert found
        assert found.result is Result.VERIFIED
        assert found.source
        assert found.source.method == method
    else:
        assert found is None


def test_a_stamp_proves_nothing_and_outweighs_no_checksum():
    found = proof.equality(A, B, stamped=True)
    assert found
    assert (found.result, found.transfer) == (Result.UNVERIFIED, None)
    assert proof.equality(A, replace(B, crc64nvme="y"), stamped=True) is None


def test_opaque_etags_are_no_evidence():
    opaque = replace(B, etag="not-md5")
    assert proof.equality(opaque, opaque, stamped=False) is None
