"""Deaths, outages, lost and late things on whole copies: equal in the end, nothing left, little sent twice."""

import secrets
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dev.servers import Server
from multipartcopy.api.reasons import Reason
from tests.proxy_client import refusal
from tests.s3.copying import (
    ABORT,
    COMPLETE,
    CREATE,
    OPERATOR_LISTS,
    PART,
    PUT_PART_2,
    Copy,
    MiB,
    Pair,
    copying,
    pair,
)
from tests.s3.local_cluster import IMPATIENT, shortened

PUT_PART_4 = r"^PUT .*[?&]partNumber=4&"
STREAMS = 2
PROXY_PAGE = {"kind": "answer", "status": 404, "body": "<html>"}


@pytest.fixture(scope="module", params=["versitygw", "minio"])
def between(request: pytest.FixtureRequest) -> Iterator[Pair]:
    server: Server = request.getfixturevalue(request.param)
    with pair(server) as made, shortened():
        yield made


@pytest.fixture
def copy(between: Pair, tmp_path: Path) -> Iterator[Copy]:
    with copying(between, tmp_path) as made:
        yield made


def is_copied(copy: Copy) -> None:
    assert copy.end() == Reason.COPIED, copy.message
    assert copy.stored() == copy.data
    assert copy.uploads() == []


def has_failed(copy: Copy, reason: Reason, there: bytes | None) -> None:
    assert copy.end() == reason, copy.message
    assert copy.stored() == there
    assert copy.uploads() == []


# What it costs to go on.


@pytest.mark.parametrize("down", [("source",), ("destination",), ("source", "destination")])
def test_an_outage_ends_nothing_and_sends_nothing_proven_again(
    copy: Copy, down: tuple[str, ...], faults: Any
) -> None:
    doors = [getattr(copy.pair, side) for side in down]
    copy.pair.destination.hold(PUT_PART_4)
    copy.start()
    copy.pair.destination.wait_held()
    copy.until(lambda: copy.parts() == [1, 2, 3])
    run = copy.status["run"]
    for door in doors:
        door.down()
    copy.pair.destination.open("drop")
    copy.until(lambda: {"SourceUnavailable", "DestinationUnavailable"} & copy.cluster.told())
    if down == ("source",):
        copy.until(lambda: copy.status["run"] > run + 3)
    else:  # Without a list of parts no further run is begun.
        copy.until(lambda: all(job["status"] for job in copy.cluster.jobs.values()))
    assert copy.status["phase"] == "Copying"
    for door in doors:
        door.up()
    is_copied(copy)
    assert copy.sent_again() == 0
    faults.survived("outage", copy.sent_again())


@pytest.mark.parametrize("place", [CREATE, PUT_PART_2, COMPLETE, OPERATOR_LISTS])
@pytest.mark.parametrize("at", ["request", "answer"])
def test_an_operator_that_is_killed_costs_no_byte(
    copy: Copy, place: dict[str, str], at: str, faults: Any
) -> None:
    copy.pair.destination.hold(place["match"], at=at, times=1)
    copy.start()
    copy.pair.destination.wait_held()
    copy.restart()
    if place is PUT_PART_2:
        copy.pair.destination.release()
    is_copied(copy)
    copy.pair.destination.release("drop")
    assert copy.sent_again() == 0
    assert len(copy.pair.destination.log(r"^POST .*\?uploads")) <= 2
    faults.survived("operator killed", copy.sent_again())


@pytest.mark.parametrize("verification", ["Auto", "PartMD5"])
@pytest.mark.parametrize(("at", "again"), [("request-body", 2), ("answer", 2)])
def test_a_worker_that_is_killed_costs_what_it_had_in_flight(
    copy: Copy, verification: str, at: str, again: int, faults: Any
) -> None:
    do = {"kind": "stall", "at": at, "after": 3 * MiB}
    copy.pair.destination.rule(PUT_PART_2["match"], do, times=1)
    copy.start(verification=verification)
    copy.until(lambda: _bytes_of_first(copy, 2) >= (PART if at == "answer" else 2 * MiB))
    copy.until(lambda: {1, 3, 4} <= set(copy.parts()))
    for pod in copy.cluster.running():
        pod.process.send_signal(signal.SIGKILL)
    is_copied(copy)
    proven = at == "answer" and verification == "Auto"
    assert copy.sent_again() <= (0 if proven else STREAMS * PART)
    faults.survived("worker killed", copy.sent_again())


def _bytes_of_first(copy: Copy, part: int) -> int:
    log = copy.pair.destination.log(rf"^PUT .*[?&]partNumber={part}&")
    return int(log[0]["request_bytes"]) if log else 0


@pytest.mark.parametrize("verification", ["Auto", "PartMD5"])
@pytest.mark.parametrize("left_of_it", ["", "end"])
def test_a_report_that_is_lost_or_cut_costs_its_batch_at_most(
    copy: Copy, verification: str, left_of_it: str, faults: Any
) -> None:
    damaged = []

    def message(pod: str, text: str) -> str:
        if damaged:
            return text
        damaged.append(pod)
        return text[-100:] if left_of_it else ""

    copy.cluster.message = message
    copy.start(verification=verification)
    is_copied(copy)
    assert damaged
    proven = verification == "Auto"
    assert copy.sent_again() <= (0 if proven else 2 * PART)
    faults.survived("report lost", copy.sent_again())


def test_suspend_and_resume_cost_the_parts_in_flight(copy: Copy, faults: Any) -> None:
    copy.pair.destination.rule(
        PUT_PART_2["match"], {"kind": "stall", "at": "request-body", "after": 3 * MiB}, times=1
    )
    copy.start()
    copy.until(lambda: _bytes_of_first(copy, 2) >= 2 * MiB)
    copy.cluster.change_spec("copy", suspend=True)
    copy.until(lambda: copy.status["phase"] == "Suspended" and not copy.cluster.jobs)
    assert copy.stored() is None
    copy.cluster.change_spec("copy", suspend=False)
    is_copied(copy)
    assert copy.sent_again() <= 2 * STREAMS * PART
    faults.survived("suspended", copy.sent_again())


def test_an_evicted_worker_counts_against_nothing(copy: Copy, faults: Any) -> None:
    """Once more often than the batch may fail."""
    copy.pair.destination.hold(PUT_PART_2["match"])
    copy.start(backoffLimitPerBatch=0)
    for _ in range(2):
        copy.pair.destination.wait_held()
        for pod in copy.cluster.running():
            pod.evicted = True
            pod.end()
        copy.until(lambda: not any(p.evicted for p in copy.cluster.running()))
        copy.pair.destination.release("drop")
    copy.pair.destination.open()
    is_copied(copy)
    assert copy.status["run"] <= 2
    faults.survived("evicted", copy.sent_again())


def test_a_ledger_that_no_longer_fits_is_a_failure_and_not_a_silence(
    copy: Copy, faults: Any
) -> None:
    copy.cluster.too_large = lambda status: len(status.get("batches", {})) > 1
    copy.start()
    has_failed(copy, Reason.LEDGER_TOO_LARGE, None)
    faults.survived("ledger too large")


# What was lost on its way.


def test_a_lost_answer_to_the_writing_of_an_empty_object(
    between: Pair, tmp_path: Path, faults: Any
) -> None:
    """Complete with no parts is MalformedXML: zero bytes are put."""
    with copying(between, tmp_path, data=b"") as copy:
        between.destination.rule(
            "^PUT /[^?]+/to$", {"kind": "reset", "at": "answer"}, name="put", times=1
        )
        copy.start()
        is_copied(copy)
        assert between.destination.spent()
        faults.survived("empty object")


def test_an_upload_that_was_aborted_by_a_lifecycle_rule_is_made_anew(
    copy: Copy, faults: Any
) -> None:
    copy.pair.destination.hold(PUT_PART_4, times=1)
    copy.start()
    copy.pair.destination.wait_held()
    # versitygw makes the upload anew for a part that was on its way during the abort.
    copy.until(lambda: copy.parts() == [1, 2, 3])
    (upload,) = copy.uploads()
    copy.client().abort_multipart_upload(Bucket=copy.bucket, Key="to", UploadId=upload)
    copy.pair.destination.release()
    copy.until_told(Reason.UPLOAD_LOST)
    is_copied(copy)
    assert copy.status["attempt"] == 2
    faults.survived("upload aborted by a stranger", copy.sent_again())


def test_an_upload_that_always_vanishes_is_a_failure(copy: Copy, faults: Any) -> None:
    copy.pair.destination.hold(COMPLETE["match"])
    copy.start()
    for _ in range(3):
        copy.pair.destination.wait_held()
        (upload,) = copy.uploads()
        copy.client().abort_multipart_upload(Bucket=copy.bucket, Key="to", UploadId=upload)
        copy.pair.destination.release()
        copy.until(lambda: not copy.pair.destination.held())
    has_failed(copy, Reason.UPLOAD_LOST, None)
    faults.survived("upload always vanishes", copy.sent_again())


@pytest.mark.parametrize("when", ["sent again", "after the comparison", "after the completion"])
def test_a_part_that_arrives_late_is_harmless(copy: Copy, when: str, faults: Any) -> None:
    destination = copy.pair.destination
    late = {**PUT_PART_2, "name": "late", "times": 1}
    late["do"] = {"kind": "hold", "at": "request", "whole": True}
    complete = {**COMPLETE, "name": "complete", "times": 1, "do": {"kind": "hold", "at": "request"}}
    destination.rules(late, *([complete] if when == "after the comparison" else []))
    copy.start()
    destination.wait_held()
    for pod in copy.cluster.running():
        pod.process.send_signal(signal.SIGKILL)
    if when == "sent again":
        copy.until(lambda: [e for e in destination.log(PUT_PART_2["match"]) if e["status"]])
    elif when == "after the comparison":
        destination.wait_held(2)
    else:
        copy.end()
    destination.release(name="late")
    (arrived,) = [e for e in destination.log(PUT_PART_2["match"]) if e["rule"] == "late"]
    copy.until(lambda: _entry(copy, arrived["at"])["end"])
    assert _entry(copy, arrived["at"])["status"] == (404 if when == "after the completion" else 200)
    destination.release()
    is_copied(copy)
    faults.survived("late part", copy.sent_again())


def _entry(copy: Copy, at: float) -> dict[str, Any]:
    return next(e for e in copy.pair.destination.log() if e["at"] == at)


@pytest.mark.parametrize(
    ("overwrite", "reason"),
    [
        ("IfDifferent", Reason.DESTINATION_CHANGED),
        ("Never", Reason.DESTINATION_EXISTS),
    ],
)
def test_a_strangers_object_between_a_complete_and_its_repeat_is_not_claimed(
    copy: Copy, overwrite: str, reason: Reason, faults: Any
) -> None:
    copy.pair.destination.hold(COMPLETE["match"], at="answer", times=1)
    copy.start(overwrite=overwrite)
    copy.pair.destination.wait_held()
    assert copy.stored() == copy.data
    theirs = secrets.token_bytes(len(copy.data))
    copy.put("to", theirs)
    copy.pair.destination.release("drop")
    has_failed(copy, reason, theirs)
    faults.survived("stranger's object")


# What cannot be undone yet.


def test_an_abort_that_stays_impossible_names_the_upload(copy: Copy, faults: Any) -> None:
    copy.limits = replace(IMPATIENT, abort_grace_seconds=1)
    destination = copy.pair.destination
    held = {"match": PUT_PART_4, "do": {"kind": "hold", "at": "request"}}
    destination.rules(held, {**ABORT, "do": refusal(503, "SlowDown")})
    copy.start()
    destination.wait_held()
    (upload,) = copy.uploads()
    copy.delete()
    copy.until(lambda: not copy.cluster.copies)
    named = [e for e in copy.cluster.events if e["reason"] == Reason.UPLOAD_LEFT_BEHIND]
    assert upload in named[0]["message"]
    assert copy.stored() is None
    faults.survived("abort impossible")


def test_a_404_of_a_proxy_is_not_taken_for_an_abort(copy: Copy, faults: Any) -> None:
    destination = copy.pair.destination
    gone = {"match": r"^GET .*[?&]uploadId=.*max-parts=1(&|$)", "do": PROXY_PAGE}
    destination.rules(
        {"match": PUT_PART_4, "do": {"kind": "hold", "at": "request"}},
        {**ABORT, "do": PROXY_PAGE},
        gone,
    )
    copy.start()
    destination.wait_held()
    copy.delete()
    copy.until(lambda: len(destination.log(ABORT["match"])) > 1)
    assert copy.uploads()
    assert copy.finalizers
    destination.open("drop")
    copy.until(lambda: not copy.cluster.copies)
    assert copy.uploads() == []
    faults.survived("proxy in place of the abort")


# What other stores do not know, and what a copy must keep.


def test_no_store_is_sent_a_checksum_that_it_was_not_asked_about(copy: Copy, faults: Any) -> None:
    """Newer SDKs add CRC32 to every request, which breaks stores that are not AWS."""
    header = r"^(x-amz-sdk-checksum-algorithm|x-amz-checksum-crc|x-amz-trailer|content-encoding):"
    refused = {"match": ".", "header": header, "do": refusal(501, "NotImplemented")}
    copy.pair.source.rules(refused)
    copy.pair.destination.rules(refused)
    copy.start(verification="PartMD5")
    is_copied(copy)
    met = copy.pair.source.log() + copy.pair.destination.log()
    assert {entry["rule"] for entry in met} == {None}
    faults.survived("no checksums")


def test_headers_and_metadata_are_not_lost_above_a_threshold(
    between: Pair, tmp_path: Path, faults: Any
) -> None:
    kept = {
        "ContentType": "application/x-test",
        "CacheControl": "max-age=60",
        "ContentDisposition": "attachment",
        "ContentLanguage": "en",
        "ContentEncoding": "gzip",
        "Metadata": {"owner": "somebody"},
    }
    with copying(between, tmp_path, **kept) as copy:
        copy.start()
        is_copied(copy)
        head = copy.client().head_object(Bucket=copy.bucket, Key="to")
        assert head["Metadata"].pop("multipartcopy-source")
        assert {name: head[name] for name in kept} == kept
        faults.survived("metadata")


# What was changed on its way.


CHECKSUM = {"ChecksumAlgorithm": "CRC64NVME"}


@pytest.mark.parametrize(
    ("verification", "source"), [("Auto", CHECKSUM), ("PartMD5", CHECKSUM), ("ReadBack", {})]
)
def test_a_bit_flipped_in_one_part_from_the_source_is_found(
    between: Pair, tmp_path: Path, verification: str, source: dict[str, str], faults: Any
) -> None:
    with copying(between, tmp_path, **source) as copy:
        _flip_from_source(copy)
        copy.start(verification=verification)
        is_copied(copy)
        assert between.source.spent()
        assert copy.status["verification"]["result"] == "Verified"
        assert Reason.PARTS_DISAGREE in copy.cluster.told()
        assert copy.sent_again() <= PART
        faults.survived("bit flipped from the source", copy.sent_again())


def test_a_bit_flipped_from_a_source_that_tells_nothing_is_not_called_verified(
    between: Pair, tmp_path: Path, faults: Any
) -> None:
    """``Auto`` reads nothing twice without a reason, and claims no more than it knows."""
    with copying(between, tmp_path) as copy:
        hide = {"kind": "edit", "headers": {"x-amz-checksum-crc64nvme": None}}
        flip = {"kind": "flip", "at": "answer-body", "offset": 1000, "bit": 5}
        between.source.rules({"match": "^HEAD ", "do": hide}, {"match": "^GET ", "do": flip})
        copy.start()
        assert copy.end() == Reason.COPIED
        assert copy.status["verification"]["result"] == "TransferVerified"
        faults.survived("bit flipped from a silent source")


@pytest.mark.parametrize("verification", ["Auto", "PartMD5", "ReadBack"])
def test_a_bit_flipped_in_one_part_to_the_destination_is_never_completed(
    copy: Copy, verification: str, faults: Any
) -> None:
    do = {"kind": "flip", "at": "request-body", "offset": 300_000, "bit": 1}
    copy.pair.destination.rule(PUT_PART_2["match"], do, times=1)
    copy.start(verification=verification)
    is_copied(copy)
    assert copy.pair.destination.spent()
    assert copy.sent_again() <= PART
    faults.survived("bit flipped to the destination", copy.sent_again())


def test_a_path_that_always_flips_a_bit_ends_the_copy(copy: Copy, faults: Any) -> None:
    do = {"kind": "flip", "at": "request-body", "offset": 300_000, "bit": 1}
    copy.pair.destination.rule(PUT_PART_2["match"], do)
    copy.start(verification="PartMD5")
    has_failed(copy, Reason.CHECKSUM_MISMATCH, None)
    faults.survived("every bit flipped", copy.sent_again())


def test_a_bit_flipped_with_verification_none_is_claimed_by_nobody(copy: Copy, faults: Any) -> None:
    do = {"kind": "flip", "at": "request-body", "offset": 300_000, "bit": 1}
    copy.pair.destination.rule(PUT_PART_2["match"], do, times=1)
    copy.start(verification="None")
    if copy.end() == Reason.COPIED:
        assert copy.status["verification"]["result"] == "Unverified"
    else:  # A store that makes a CRC64NVME by itself shows another than was sent.
        assert copy.reason == Reason.CHECKSUM_MISMATCH
        assert copy.stored() is None
    faults.survived("bit flipped, unverified")


def test_a_bit_flipped_at_rest_is_found_by_reading_again(copy: Copy, faults: Any) -> None:
    """Each reading of the object shows another byte than was sent: it is deleted."""
    do = {"kind": "flip", "at": "answer-body", "offset": 1000, "bit": 5}
    copy.pair.destination.rules({"match": "^GET /[^?]+/to$", "header": "^Range: bytes=5", "do": do})
    copy.start(verification="ReadBack")
    has_failed(copy, Reason.CHECKSUM_MISMATCH, None)
    faults.survived("bit flipped at rest")


def _flip_from_source(copy: Copy) -> None:
    do = {"kind": "flip", "at": "answer-body", "offset": 1000, "bit": 5}
    copy.pair.source.rule("^GET ", do, header=rf"^Range: bytes={PART}-", times=1)
