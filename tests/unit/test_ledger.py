"""The ledger: what proves a part, what is missing, what the object must be."""

import hashlib
from dataclasses import replace

import pytest
from awscrt.checksums import crc64nvme
from hypothesis import given
from hypothesis import strategies as st

from multipartcopy.api.codec import from_json, to_json
from multipartcopy.api.report import encode_crc
from multipartcopy.api.status import Pin, Plan, Reading, Status, Upload
from multipartcopy.reconcile import ledger
from multipartcopy.reconcile.ledger import ListedPart, Part
from tests.unit.facts import FULL, PLAN, SIZE, UPLOADING, etag, report, with_parts

PART = PLAN.part_size
LISTED = [ListedPart(n, etag(n), PART, n) for n in range(1, 21)]


@given(st.sets(st.integers(1, 20)))
def test_the_ledger_is_read_as_it_was_written(numbers):
    parts = {n: Part(etag(n), n * 2**50) for n in numbers}
    batches = ledger.write_parts(PLAN, SIZE, parts)
    status = replace(UPLOADING, batches=batches)
    assert ledger.parts_of(from_json(Status, to_json(status)).batches) == parts
    work = ledger.missing(status)
    assert {n for w in work for n in w.numbers()} == set(range(1, 21)) - numbers
    assert sum(b.bytes for b in batches.values()) == PART * len(numbers)


def test_folding_is_idempotent_and_never_replaces():
    once = ledger.fold(UPLOADING, [report("1-3", range(1, 4))])
    assert sorted(ledger.parts_of(once.batches)) == [1, 2, 3]
    assert ledger.fold(once, [report("1-3", range(1, 4))]) is once
    other = replace(report("1", range(1, 2)), etags=("f" * 32,))
    assert ledger.fold(once, [other]) is once


def test_parts_out_of_the_plan_are_no_news():
    stray = report("99", range(99, 100))
    assert ledger.fold(UPLOADING, [stray]) is UPLOADING


def test_only_a_checksum_of_our_own_recovers_a_part():
    assert ledger.recover(UPLOADING, LISTED).batches == FULL.batches
    without = [replace(p, crc=None) for p in LISTED]
    assert ledger.recover(UPLOADING, without) is UPLOADING
    plain = replace(UPLOADING, upload=Upload("u", checksum=False))
    assert ledger.recover(plain, LISTED) is plain
    short = [replace(p, size=PART - 1) for p in LISTED]
    assert ledger.recover(UPLOADING, short) is UPLOADING


def test_a_part_that_was_dropped_is_not_recovered_from_what_the_store_has():
    dropped = replace(ledger.without(FULL, [2]), disagreements=1)
    assert ledger.recover(dropped, LISTED) is dropped


def test_every_kind_of_disagreement_is_found():
    assert ledger.disagreements(FULL, LISTED) == []
    changed = {
        2: ListedPart(2, "f" * 32, PART, 2),
        3: ListedPart(3, etag(3), PART - 1, 3),
        4: ListedPart(4, etag(4), PART, 5),
        6: ListedPart(6, etag(6), PART, None),  # no checksum to disagree with
    }
    listing = [changed.get(p.number, p) for p in LISTED if p.number != 5]
    assert ledger.disagreements(FULL, listing) == [2, 3, 4, 5]
    foreign = [*LISTED, ListedPart(21, etag(21), PART, 21)]
    assert ledger.disagreements(FULL, foreign) == []


def test_dropping_parts_makes_them_missing():
    left = ledger.without(FULL, [1, 20])
    assert [(w.batch, w.parts) for w in ledger.missing(left)] == [(0, "1"), (3, "20")]


@given(st.binary(min_size=1, max_size=200), st.integers(1, 50))
def test_checksum_and_etag_of_the_object_follow_from_the_parts(data, part_size):
    pieces = [data[i : i + part_size] for i in range(0, len(data), part_size)]
    plan = Plan(part_size, len(pieces), 10, -(-len(pieces) // 10))
    md5s = [hashlib.md5(piece, usedforsecurity=False) for piece in pieces]
    parts = {
        n: Part(md5.hexdigest(), crc64nvme(piece))
        for n, (piece, md5) in enumerate(zip(pieces, md5s, strict=True), 1)
    }
    status = Status(
        plan=plan,
        source=Pin("e", len(data)),
        batches=ledger.write_parts(plan, len(data), parts),
    )
    assert ledger.object_crc(status) == encode_crc(crc64nvme(data))
    whole = hashlib.md5(b"".join(md5.digest() for md5 in md5s), usedforsecurity=False).hexdigest()
    assert ledger.composite_etag(parts) == f"{whole}-{len(pieces)}"


def test_an_opaque_etag_foretells_nothing():
    assert ledger.composite_etag({1: Part("not-md5", 0)}) is None


def test_a_full_ledger_has_nothing_missing():
    assert ledger.missing(FULL) == ()
    assert with_parts(UPLOADING, range(1, 21)) == FULL


@pytest.mark.parametrize(
    "change",
    [
        {"parts": "1-4"},
        {"parts": "1-99999999999"},
        {"parts": "1-" + "9" * 30},
        {"bytes": 10**15},
        {"parts": "x"},
        {"parts": "1,1,2-4"},
        {"parts": "6-10"},
        {"crc64nvme": "?"},
        {"etags": ()},
    ],
)
def test_a_ledger_entry_that_was_edited_is_sent_again(change):
    broken = {**FULL.batches, "0": replace(FULL.batches["0"], **change)}
    sound = ledger.sound(replace(FULL, batches=broken))
    assert sorted(sound.batches) == ["1", "2", "3"]
    assert ledger.sound(FULL) is FULL


def test_a_reading_that_was_edited_begins_anew():
    broken = replace(FULL, source_reading=Reading("e", "abc", ""))
    assert ledger.sound(broken).source_reading == Reading("e")
    for key in ("x", "00", "\u0660"):
        assert ledger.sound(replace(FULL, batches={key: FULL.batches["0"]})).batches == {}
