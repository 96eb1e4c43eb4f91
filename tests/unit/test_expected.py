"""What ``spec.source.expect`` demands: at the claim, by the bytes that came, and in the proof."""

from dataclasses import replace

import pytest

from multipartcopy.api.location import Reference, S3Location
from multipartcopy.api.spec import (
    Checksum,
    ChecksumAlgorithm,
    Expected,
    Mode,
    Source,
    Target,
    VerificationMode,
)
from multipartcopy.api.status import Pin, Reading, Result
from multipartcopy.reconcile import ledger, outcome, proof
from multipartcopy.reconcile.facts import Limits
from multipartcopy.reconcile.outcome import Inspection
from multipartcopy.s3.control import ObjectInfo, StoredPart
from tests.unit.facts import FULL, NOW, SIZE, SPEC, etag, facts

CRC = ledger.object_crc(FULL) or ""
OTHER = "yuHGk7MSCvw="
EMPTY = "AAAAAAAAAAA="
PLAIN = ObjectInfo(size=SIZE, etag="a" * 32)
TOLD = replace(PLAIN, crc64nvme=CRC)
PARTS = [StoredPart(n, etag(n), 5 << 20, None) for n in range(1, 21)]
STORED = ObjectInfo(size=SIZE, etag="b", crc64nvme=CRC)
READ = Reading("a" * 32, "1-20")


def crc(value):
    return Checksum(ChecksumAlgorithm.CRC64NVME, value)


def spec(**expect):
    return replace(SPEC, source=replace(SPEC.source, expect=Expected(**expect)))


def within(**expect):
    """One store, which could copy by itself."""
    place = S3Location("from", "key", "http://a:1", secret_ref=Reference("a"))
    target = replace(place, bucket="to")
    return replace(
        SPEC, source=Source(place, expect=Expected(**expect)), destination=Target(target)
    )


def claim(spec, source=PLAIN, destination=None):
    return outcome.claim(facts(spec=spec), Inspection(source, None, destination, (), NOW))


@pytest.mark.parametrize(
    ("expect", "source", "sentence"),
    [
        ({"size": SIZE, "etag": "a" * 32}, PLAIN, None),
        ({"size": 1}, PLAIN, "spec.source.expect.size is 1 bytes, the source has 104857600 bytes"),
        ({"size": 0}, PLAIN, "spec.source.expect.size is 0 bytes"),
        ({"etag": "b"}, PLAIN, f"spec.source.expect.etag is b, the source has {'a' * 32}"),
        ({"checksum": crc(CRC)}, TOLD, None),
        ({"checksum": crc(OTHER)}, TOLD, f"CRC64NVME {OTHER}, the source has {CRC}"),
        ({"checksum": crc(OTHER)}, PLAIN, None),
        ({"checksum": crc(OTHER)}, ObjectInfo(0, "e"), f"{OTHER}, the source has {EMPTY}"),
        ({"checksum": crc(EMPTY)}, ObjectInfo(0, "e"), None),
    ],
)
def test_a_copy_begins_only_with_the_source_that_is_expected(expect, source, sentence):
    result = claim(spec(**expect), source)
    if sentence is None:
        assert result.reason == "Claimed"
        assert result.status.source
    else:
        assert result.reason == "SourceUnexpected"
        assert result.status.failing
        assert sentence in result.message
        assert result.status.claim is None


def test_an_unexpected_source_is_not_equal_to_anything():
    assert claim(spec(size=1), destination=PLAIN).reason == "SourceUnexpected"


@pytest.mark.parametrize(
    ("source", "destination", "reason"),
    [
        (TOLD, TOLD, "AlreadyEqual"),
        (PLAIN, PLAIN, "Claimed"),
        (PLAIN, TOLD, "AlreadyEqual"),
        (PLAIN, replace(PLAIN, crc64nvme=OTHER), "Claimed"),
    ],
)
def test_an_equal_object_must_have_the_checksum(source, destination, reason):
    assert claim(spec(checksum=crc(CRC)), source, destination).reason == reason


@pytest.mark.parametrize(
    ("expect", "source", "mode"),
    [
        ({"size": SIZE}, PLAIN, "ServerSide"),
        ({"checksum": crc(CRC)}, TOLD, "ServerSide"),
        ({"checksum": crc(CRC)}, PLAIN, "Relay"),
    ],
)
def test_what_the_store_would_copy_unseen_passes_the_workers(expect, source, mode):
    result = claim(within(**expect), source)
    assert result.status.mode == mode
    alone = claim(replace(within(**expect), mode=Mode.SERVER_SIDE), source)
    assert alone.reason == ("Claimed" if mode == "ServerSide" else "ServerSideRefused")


def received(expected, *, mode="Auto", **changes):
    """The intent, or what is done instead, once every part has come."""
    status = replace(FULL, source=Pin("a", SIZE, expected_crc64nvme=expected), **changes)
    demand = replace(spec(checksum=crc(expected)), verification=VerificationMode(mode))
    return outcome.intend(facts(status, demand), PARTS, Limits())


@pytest.mark.parametrize("mode", ["Auto", "None"])
def test_what_came_is_compared_before_it_is_visible(mode):
    assert received(CRC, mode=mode).status.completing


def test_other_bytes_than_expected_are_read_again_and_then_refused():
    again = received(OTHER)
    assert again.status.source_reading == Reading("a")
    assert OTHER in again.message
    result = received(OTHER, source_reading=READ)
    assert result.reason == "SourceUnexpected"
    assert result.status.completing is None
    assert result.status.failing


def test_without_any_proof_they_are_refused_at_once():
    assert received(OTHER, mode="None").reason == "SourceUnexpected"


def test_it_proves_the_source():
    status = replace(FULL, source=Pin("a", SIZE, expected_crc64nvme=CRC))
    proven = proof.conclude(status, STORED, VerificationMode.AUTO)
    assert proven.result is Result.VERIFIED
    assert proven.source
    assert proven.source.compared_with == "spec.source.expect.checksum"
