"""The contracts: what one program writes, the other reads."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multipartcopy.api.conditions import summarize
from multipartcopy.api.quantity import format_bytes, format_quantity, number_of, parse_bytes
from multipartcopy.api.ranges import format_ranges, parse_ranges
from multipartcopy.api.reasons import Reason, reason_of
from multipartcopy.api.report import (
    ERROR_MESSAGE_LIMIT,
    MESSAGE_LIMIT,
    Report,
    WorkerError,
    capacity,
    decode_report,
    pack_crcs,
    unpack_crcs,
)
from multipartcopy.api.status import Phase
from multipartcopy.api.task import decode_task
from multipartcopy.jobs import build_task
from multipartcopy.plan import MAX_BATCH_SIZE
from multipartcopy.reconcile.ledger import missing
from tests.unit.facts import SPEC, UPLOADING

crcs = st.integers(0, 2**64 - 1)


@given(st.sets(st.integers(1, 10_000)))
def test_ranges(numbers):
    assert parse_ranges(format_ranges(numbers)) == sorted(numbers)


@pytest.mark.parametrize("text", ["a", "1-", "1-b", ",", "1,,2"])
def test_what_is_no_range(text):
    with pytest.raises(ValueError, match="invalid literal"):
        parse_ranges(text)


@given(st.lists(crcs, max_size=100))
def test_packed_crcs(numbers):
    assert unpack_crcs(pack_crcs(numbers)) == numbers


@given(st.integers(1, 128), st.booleans(), st.data())
def test_a_report_with_all_parts_it_may_hold_fits_into_a_termination_message(length, packed, data):
    count = capacity(length, packed=packed)
    etag = "f" * 32 if packed else "g" * length
    batch = range(10_001 - MAX_BATCH_SIZE, 10_001)
    # Every other part: the ranges are at their longest. Or any.
    some = st.sampled_from([batch, batch[::2]]) | st.sets(st.sampled_from(batch), min_size=1)
    numbers = sorted(data.draw(some))[:count]
    report = Report(
        upload="12345678",
        attempt=999,
        run=99_999,
        batch=9_999,
        parts=format_ranges(numbers),
        etags=tuple(etag for _ in numbers),
        crc64nvme=pack_crcs([2**64 - 1] * len(numbers)),
        sent=2**50,
        peak_rss=2**40,
        error=WorkerError("DestinationUnavailable", "x" * ERROR_MESSAGE_LIMIT, 10_000),
    )
    assert len(report.encode()) <= MESSAGE_LIMIT
    assert decode_report(report.encode().decode()) == report


@given(st.integers(1, MESSAGE_LIMIT))
def test_a_cut_report_is_none(cut):
    whole = Report("12345678", 1, 1, 0, "1", ("e",), pack_crcs([1])).encode().decode()
    assert decode_report(whole[cut:]) is None
    assert decode_report(whole + " " * cut) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"version": 1},
        {"read": "source"},
        {"etags": []},
        {"crc64nvme": "AAAA"},
        {"parts": "1-2"},
        {"parts": "x"},
    ],
)
def test_an_inconsistent_report_is_none(change):
    body = json.loads(Report("12345678", 1, 1, 0, "1", ("e",), pack_crcs([1])).encode())
    assert decode_report(json.dumps(body)) is not None
    assert decode_report(json.dumps(body | change)) is None
    assert decode_report("[]") is None


def test_a_report_of_what_a_store_has_copied_has_no_checksums():
    report = Report("12345678", 1, 1, 0, "1-2", ("e", "f"))
    assert decode_report(report.encode().decode()) == report


def test_the_task_is_read_as_it_was_written():
    task = build_task(SPEC, UPLOADING, missing(UPLOADING))
    assert decode_task(task.encode()) == task
    with pytest.raises(ValueError, match="image differ"):
        decode_task(task.encode().replace('"version":5', '"version":0'))


@pytest.mark.parametrize(
    ("text", "count"), [("64Mi", 64 << 20), ("5G", 5 * 10**9), ("1.5Ki", 1536), ("7", 7)]
)
def test_quantities(text, count):
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["1", "1023", "1Ki", "34817Ki", "96Mi", "128Mi", "1Gi", "4096Gi"])
def test_quantities_are_written_as_they_are_read(text):
    assert format_quantity(parse_bytes(text)) == text


@pytest.mark.parametrize("text", ["", "Mi", "-1", "0", "1.5", "5 Mi", "5mi", "1e3"])
def test_what_is_no_quantity(text):
    with pytest.raises(ValueError, match="is not a"):
        parse_bytes(text)


def test_numbers_in_words():
    assert [number_of(n, "part") for n in (0, 1, 2)] == ["0 parts", "1 part", "2 parts"]
    assert number_of(2, "batch") == "2 batches"


def test_bytes_for_people():
    assert [format_bytes(n) for n in (0, 1023, 1536, 2**40, 50 * 2**40)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "1.0 TiB",
        "50.0 TiB",
    ]


@pytest.mark.parametrize(
    ("phase", "true"),
    [
        (Phase.PENDING, {"Reconciling"}),
        (Phase.COPYING, {"Reconciling"}),
        (Phase.ABORTING, {"Reconciling"}),
        (Phase.SUSPENDED, set()),
        (Phase.SUCCEEDED, {"Complete", "Ready"}),
        (Phase.FAILED, {"Failed", "Stalled"}),
    ],
)
def test_conditions(phase, true):
    made = summarize(phase, "Why", "m", generation=3, now="t1", before=())
    assert {c.type for c in made if c.status == "True"} == true
    assert {c.observed_generation for c in made} == {3}
    later = summarize(phase, "Other", "n" * 2000, generation=4, now="t2", before=made)
    assert {c.last_transition_time for c in later} == {"t1"}
    assert {(c.reason, len(c.message)) for c in later} == {("Other", 1024)}


def test_a_condition_that_changes_says_when():
    running = summarize(Phase.COPYING, "A", "", generation=1, now="t1", before=())
    done = summarize(Phase.SUCCEEDED, "B", "", generation=1, now="t2", before=running)
    times = {c.type: c.last_transition_time for c in done}
    assert times == {
        "Complete": "t2",
        "Ready": "t2",
        "Reconciling": "t2",
        "Failed": "t1",
        "Stalled": "t1",
    }


def test_a_reason_of_another_version():
    assert reason_of("OOMKilled") is Reason.OOM_KILLED
    assert reason_of("FromTheFuture") is Reason.WORKER_FAILED
