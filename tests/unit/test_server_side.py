"""Where the store copies by itself: when it is asked to, what follows from a refusal, and what is proven."""

from dataclasses import replace

import pytest

from multipartcopy.api.location import Reference, S3Location
from multipartcopy.api.reasons import Reason
from multipartcopy.api.report import Report, WorkerError, pack_crcs
from multipartcopy.api.spec import Mode, Source, Target, VerificationMode
from multipartcopy.api.status import (
    Claim,
    Destination,
    Intent,
    LastFailure,
    Phase,
    Pin,
    Plan,
    Reading,
    Result,
    Retry,
    Status,
    Way,
)
from multipartcopy.api.task import Read
from multipartcopy.jobs import build_task
from multipartcopy.reconcile import decide as steps
from multipartcopy.reconcile import ledger, outcome, proof, settle
from multipartcopy.reconcile.decide import decide
from multipartcopy.reconcile.facts import Limits, format_time
from multipartcopy.reconcile.ledger import ListedPart, Part
from multipartcopy.reconcile.outcome import Inspection
from multipartcopy.reconcile.settle import Verdict
from multipartcopy.s3.address import copy_source, same_endpoint
from multipartcopy.s3.control import ObjectInfo, StoredPart
from tests.unit.facts import (
    CLAIMED,
    FULL,
    NEW,
    NOW,
    PLAN,
    SIZE,
    SPEC,
    UPLOAD,
    etag,
    facts,
    job,
    pod,
    report,
)

MiB = 1 << 20
LIMITS = Limits()
STORE = "http://s3:9000"
WITHIN = replace(
    SPEC,
    source=Source(replace(SPEC.source.s3, endpoint=STORE)),
    destination=Target(replace(SPEC.destination.s3, endpoint=STORE)),
)
ALONE = replace(WITHIN, mode=Mode.SERVER_SIDE)
READ_BACK = replace(WITHIN, verification=VerificationMode.READ_BACK)
LISTED = [ListedPart(n, etag(n), PLAN.part_size) for n in range(1, 21)]

CLAIMED_WITHIN = replace(CLAIMED, mode=Way.SERVER_SIDE)
COPYING = replace(
    CLAIMED_WITHIN, phase=Phase.COPYING, run=1, upload=replace(UPLOAD, checksum=False)
)
COPIED = replace(
    COPYING,
    batches=ledger.write_parts(PLAN, SIZE, {n: Part(etag(n), None) for n in range(1, 21)}),
)
COMPOSITE = ledger.composite_etag(ledger.parts_of(COPIED.batches)) or ""
CRCS = pack_crcs(list(range(1, 21)))
CRC = ledger.object_crc(FULL)
LAYOUT = Pin(COMPOSITE, SIZE, part_size=PLAN.part_size)
WRONG_LAYOUT = replace(LAYOUT, etag="0" * 32 + "-20")
PLAIN = Pin("d" * 32, SIZE)
WITH_CRC = replace(PLAIN, crc64nvme=CRC)
MADE = ObjectInfo(size=SIZE, etag=COMPOSITE)
SEEN = Reading("e", "1-20", "", CRCS)
READ = {"source_reading": SEEN, "destination_reading": Reading("e", "1-20")}


def seen(source: ObjectInfo | None = None, unreadable: str | None = None) -> Inspection:
    info = source or ObjectInfo(size=SIZE, etag="a" * 32)
    return Inspection(info, None, None, (), NOW, unreadable)


def copied(pin: Pin, **changes: object) -> Status:
    return replace(COPIED, source=pin, **changes)  # type: ignore[arg-type]


# Whether the store is asked.


def location(endpoint: str | None, region: str = "us-east-1") -> S3Location:
    return S3Location("b", "k", endpoint, region)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (location("http://S3.example"), location("http://s3.example:80/"), True),
        (location("https://s3.example"), location("https://s3.example:443"), True),
        (location("http://s3.example"), location("https://s3.example"), False),
        (location("http://s3.example"), location("http://s3.example:81"), False),
        (location("http://s3.example/a"), location("http://s3.example/b"), False),
        (location("http://[::1]:9000"), location("http://[::1]:9000/"), True),
        (location(None), location(None, "eu-west-1"), True),
        (location(None), location("https://s3.us-east-1.amazonaws.com"), True),
        (location(None), location("https://s3.eu-west-1.amazonaws.com"), False),
    ],
)
def test_one_endpoint(one, other, same):
    assert same_endpoint(one, other) is same


@pytest.mark.parametrize(
    ("key", "version", "header"),
    [
        ("a/b", None, "/b/a/b"),
        ("a b+c", None, "/b/a%20b%2Bc"),
        ("50%?x=é", None, "/b/50%25%3Fx%3D%C3%A9"),
        ("k", "v/1+=", "/b/k?versionId=v%2F1%2B%3D"),
    ],
)
def test_the_copy_source_is_encoded(key, version, header):
    assert copy_source(S3Location("b", key, version_id=version)) == header


@pytest.mark.parametrize(
    ("spec", "unreadable", "way"),
    [
        (WITHIN, None, Way.SERVER_SIDE),
        (ALONE, None, Way.SERVER_SIDE),
        (SPEC, None, Way.RELAY),
        (replace(WITHIN, mode=Mode.RELAY), None, Way.RELAY),
        (replace(WITHIN, verification=VerificationMode.PART_MD5), None, Way.RELAY),
        (READ_BACK, None, Way.SERVER_SIDE),
        (WITHIN, "403", Way.RELAY),
    ],
)
def test_the_claim_says_which_way_the_bytes_go(spec, unreadable, way):
    result = outcome.claim(facts(NEW, spec), seen(unreadable=unreadable))
    assert (result.reason, result.status.mode) == (Reason.CLAIMED, way)
    assert str(way) in result.message
    assert result.status.server_side_refused == unreadable


@pytest.mark.parametrize(
    ("spec", "unreadable"),
    [
        (ALONE, "404"),
        (replace(SPEC, mode=Mode.SERVER_SIDE), None),
        (replace(ALONE, verification=VerificationMode.PART_MD5), None),
    ],
)
def test_server_side_alone_fails_where_it_cannot_be(spec, unreadable):
    result = outcome.claim(facts(NEW, spec), seen(unreadable=unreadable))
    assert result.status.failing
    assert result.status.failing.reason == Reason.SERVER_SIDE_REFUSED
    assert "write spec.mode: Auto" in result.message


def test_no_byte_needs_no_mode():
    empty = ObjectInfo(size=0, etag="a" * 32)
    assert outcome.claim(facts(NEW, ALONE), seen(empty)).status.mode is None


def test_a_source_of_one_part_is_copied_as_one():
    assert outcome.claim(facts(NEW, WITHIN), seen()).status.plan == Plan(SIZE, 1, 4, 1)
    for info in (
        ObjectInfo(size=SIZE, etag="opaque"),
        ObjectInfo(size=SIZE, etag="a" * 32, encrypted_by_key=True),
    ):
        plan = outcome.claim(facts(NEW, WITHIN), seen(info)).status.plan
        assert plan
        assert plan.part_size == 64 * MiB


def test_the_upload_is_made_without_a_checksum():
    assert not outcome.wants_checksum(facts(CLAIMED_WITHIN, WITHIN))
    # One that was taken up may have what the store gives to each.
    upload = outcome.uploading(facts(CLAIMED_WITHIN, WITHIN), UPLOAD).status.upload
    assert upload
    assert (upload.checksum, upload.md5) == (False, False)


def test_the_task_says_so():
    work = ledger.missing(COPYING)
    assert build_task(WITHIN, COPYING, work).server_side
    assert not build_task(WITHIN, replace(COPYING, mode=Way.RELAY), work).server_side


def test_a_bandwidth_is_for_what_passes_the_pods():
    spec = replace(READ_BACK, bandwidth_limit="100Mi")
    work = ledger.missing(COPYING)
    assert build_task(spec, COPYING, work).bytes_per_second == 0
    assert not isinstance(decide(facts(COPYING, spec, jobs=(job(),))), steps.DeleteJobs)
    intent = Intent(SIZE, COMPOSITE, "", if_none_match=True)
    made = settle.settled(facts(copied(PLAIN, completing=intent), spec), MADE).status
    assert build_task(spec, made, ledger.missing(made)).bytes_per_second == 25 * MiB


# A refusal.

REFUSED = report("", range(0), error=WorkerError("ServerSideRefused", "501"), upload=UPLOAD.id)


@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.RELAY])
def test_a_refusal_begins_anew_through_the_workers(mode):
    spec, met = replace(WITHIN, mode=mode), {"pods": (pod(REFUSED, code=42),)}
    assert isinstance(decide(facts(COPYING, spec, jobs=(job(),), **met)), steps.DeleteJobs)
    step = decide(facts(COPYING, spec, **met))
    assert isinstance(step, steps.Relay)
    assert step.reason == Reason.SERVER_SIDE_REFUSED
    claimed = replace(COPYING, claim=Claim(format_time(NOW), ("theirs",), "b" * 32), retry=Retry(1))
    made = outcome.relayed(facts(claimed, spec), step).status
    assert (made.mode, made.attempt, made.run) == (Way.RELAY, 2, 0)
    assert (made.upload, made.batches, made.retry) == (None, {}, None)
    assert (made.source, made.claim) == (claimed.source, claimed.claim)
    assert made.plan
    assert made.plan.part_size == 16 * MiB
    assert "501" in (made.server_side_refused or "")


def test_a_refusal_where_nothing_else_may_be_is_final():
    step = decide(facts(COPYING, ALONE, pods=(pod(REFUSED, code=42),)))
    assert isinstance(step, steps.Write)
    assert step.status.failing
    assert step.status.failing.reason == Reason.SERVER_SIDE_REFUSED
    assert "write spec.mode: Auto" in step.status.failing.message


@pytest.mark.parametrize(
    ("spec", "relayed"), [(WITHIN, True), (ALONE, False)], ids=["Auto", "ServerSide"]
)
def test_want_of_permission_may_be_the_sources_own(spec, relayed):
    failure = LastFailure("AccessDenied", "403")
    once = replace(COPYING, retry=Retry(1, denied=1), last_failure=failure)
    assert isinstance(decide(facts(once, spec)), steps.StartRun)
    often = replace(once, retry=Retry(5, denied=5))
    step = decide(facts(often, spec))
    assert isinstance(step, steps.Relay) is relayed
    if not relayed:
        assert isinstance(step, steps.Write)
        assert step.status.failing
        assert step.status.failing.reason == Reason.ACCESS_DENIED


def test_a_refused_attempt_is_not_one_of_the_three():
    refused = replace(COPYING, mode=Way.RELAY, server_side_refused="501", attempt=3)
    assert outcome.new_attempt(facts(refused), LIMITS).status.failing is None


def test_a_reading_that_is_denied_is_no_refusal_to_copy():
    failure = LastFailure("AccessDenied", "403")
    reading = copied(
        PLAIN,
        destination=Destination(COMPOSITE, SIZE),
        source_reading=Reading(PLAIN.etag),
        destination_reading=Reading(COMPOSITE),
        retry=Retry(5, denied=5),
        last_failure=failure,
    )
    step = decide(facts(reading, READ_BACK))
    assert isinstance(step, steps.Write)
    assert step.status.failing
    assert step.status.failing.reason == Reason.ACCESS_DENIED
    assert "unverified" in step.status.failing.message


# The ledger.


def test_a_report_without_checksums_is_of_a_server_side_copy():
    bare = replace(report("1-3", range(1, 4)), crc64nvme="")
    assert sorted(ledger.parts_of(ledger.fold(COPYING, [bare]).batches)) == [1, 2, 3]
    relayed = replace(COPYING, mode=Way.RELAY)
    assert ledger.fold(relayed, [bare]) is relayed


def test_what_the_store_lists_of_its_own_copying_is_recovered():
    assert ledger.recover(COPYING, LISTED).batches == COPIED.batches
    assert ledger.recover(replace(COPYING, mode=Way.RELAY), LISTED).batches == {}
    short = [replace(part, size=part.size - 1) for part in LISTED]
    assert ledger.recover(COPYING, short) is COPYING
    dropped = replace(COPYING, disagreements=1)
    assert ledger.recover(dropped, LISTED) is dropped


def test_it_agrees_with_a_list_that_has_checksums():
    with_crcs = [replace(part, crc=part.number) for part in LISTED]
    assert ledger.disagreements(COPIED, with_crcs) == []
    assert ledger.disagreements(COPIED, LISTED[1:]) == [1]


def test_an_edited_mode_has_everything_sent_again():
    assert ledger.sound(COPIED) is COPIED
    assert ledger.sound(replace(COPIED, mode=None)).batches == {}
    assert ledger.sound(replace(FULL, mode=Way.SERVER_SIDE)).batches == {}


@pytest.mark.parametrize(
    "change",
    [
        {"source_reading": None},
        {"source_reading": Reading("e", "1-20")},
        {"source_reading": Reading("e", "x", "", CRCS)},
        {"destination_reading": Reading("d", "x")},
    ],
)
def test_readings_that_were_edited_begin_anew_together(change):
    edited = copied(PLAIN, destination=Destination("d", SIZE), **(READ | change))
    sound = ledger.sound(edited)
    assert sound.source_reading == Reading(PLAIN.etag)
    assert sound.destination_reading
    assert sound.destination_reading.parts == ""


# Judging, reading, proving.


def test_the_intent_is_what_the_source_has():
    listing = [StoredPart(n, etag(n), PLAN.part_size) for n in range(1, 21)]
    for pin, crc in ((WITH_CRC, CRC), (PLAIN, "")):
        result = outcome.intend(facts(copied(pin), WITHIN), listing, LIMITS)
        assert result.status.completing == Intent(SIZE, COMPOSITE, crc, if_none_match=True)
        assert ledger.sound(result.status) is result.status


@pytest.mark.parametrize("spec", [WITHIN, READ_BACK])
@pytest.mark.parametrize("pin", [PLAIN, WRONG_LAYOUT, WITH_CRC])
def test_nothing_is_read_before_the_completion(spec, pin):
    listing = [StoredPart(n, etag(n), PLAN.part_size) for n in range(1, 21)]
    assert outcome.intend(facts(copied(pin), spec), listing, LIMITS).phase is Phase.COMPLETING


@pytest.mark.parametrize(
    ("pin", "head", "verdict"),
    [
        (PLAIN, MADE, Verdict.OURS),
        (PLAIN, replace(MADE, crc64nvme="AAAAAAAAAAI="), Verdict.OURS),
        (WITH_CRC, replace(MADE, crc64nvme=CRC), Verdict.OURS),
        (WITH_CRC, replace(MADE, crc64nvme="AAAAAAAAAAI="), Verdict.DAMAGED),
        (PLAIN, replace(MADE, etag="b" * 32), Verdict.OTHER),
    ],
)
def test_the_object_is_judged_by_what_the_store_says_of_the_source(pin, head, verdict):
    intent = Intent(SIZE, COMPOSITE, pin.crc64nvme or "", if_none_match=True)
    assert settle.judge(facts(copied(pin, completing=intent), WITHIN), head) is verdict


@pytest.mark.parametrize(
    ("spec", "pin", "head", "read"),
    [
        (WITHIN, LAYOUT, MADE, False),
        (WITHIN, PLAIN, MADE, False),
        (READ_BACK, LAYOUT, MADE, True),
        (WITHIN, WRONG_LAYOUT, MADE, True),
        (WITHIN, WRONG_LAYOUT, replace(MADE, encrypted_by_key=True), False),
        (
            WITHIN,
            replace(WRONG_LAYOUT, crc64nvme=CRC),
            replace(MADE, crc64nvme=CRC),
            False,
        ),
        (replace(WITHIN, verification=VerificationMode.NONE), WRONG_LAYOUT, MADE, False),
    ],
)
def test_after_it_both_are_read_where_asked_for_or_in_doubt(spec, pin, head, read):
    intent = Intent(SIZE, COMPOSITE, "", if_none_match=True)
    result = settle.settled(facts(copied(pin, completing=intent), spec), head)
    assert (result.phase is Phase.VERIFYING) is read
    if read:
        assert result.status.source_reading == Reading(pin.etag)
        assert result.status.destination_reading == Reading(head.etag)
        assert result.status.stage is Read.SOURCE
        assert build_task(spec, result.status, []).read_etag == pin.etag


def reading(parts: str, crcs: list[int], side: Read, run: int = 1) -> Report:
    bare = report(parts, range(0))
    return replace(bare, crc64nvme=pack_crcs(crcs), read=side, run=run)


def test_the_source_is_read_first_and_the_destination_compared_with_it():
    begun = copied(
        PLAIN,
        destination=Destination(COMPOSITE, SIZE),
        source_reading=Reading(PLAIN.etag),
        destination_reading=Reading(COMPOSITE),
    )
    some = ledger.fold(begun, [reading("2-20", list(range(2, 21)), Read.SOURCE)])
    assert (some.stage, ledger.object_crc(some)) == (Read.SOURCE, None)
    assert [work.parts for work in ledger.missing(some)] == ["1"]
    read = ledger.fold(some, [reading("1", [1], Read.SOURCE)])
    assert read.source_reading == replace(SEEN, etag=PLAIN.etag)
    assert (read.stage, ledger.object_crc(read)) == (Read.DESTINATION, CRC)
    same = ledger.fold(read, [reading("1-20", list(range(1, 21)), Read.DESTINATION)])
    assert same.destination_reading == Reading(COMPOSITE, "1-20")
    assert ledger.missing(same) == ()
    other = ledger.fold(read, [reading("1-20", [9, *range(2, 21)], Read.DESTINATION)])
    assert other.destination_reading == Reading(COMPOSITE, "1-20", "1")
    again = settle.reread(facts(other, READ_BACK), LIMITS)
    assert again
    assert again.status.stage is Read.SOURCE
    assert [work.parts for work in ledger.missing(again.status)] == ["1"]
    assert again.status.source_reading
    assert again.status.source_reading.crc64nvme == pack_crcs(list(range(2, 21)))
    mended = ledger.fold(again.status, [reading("1", [9], Read.SOURCE, 2)])
    assert mended.stage is Read.DESTINATION
    assert [work.parts for work in ledger.missing(mended)] == ["1"]
    end = ledger.fold(mended, [reading("1", [9], Read.DESTINATION, 2)])
    assert end.destination_reading == Reading(COMPOSITE, "1-20")


def test_two_equal_readings_that_the_sources_checksum_contradicts_are_no_copy():
    for pin, fails in ((WITH_CRC, False), (replace(PLAIN, crc64nvme="AAAAAAAAAAA="), True)):
        read = copied(pin, destination=Destination(COMPOSITE, SIZE), **READ)
        result = settle.concluded(facts(read, READ_BACK), MADE)
        assert (result.reason == Reason.CHECKSUM_MISMATCH) is fails
        assert (result.status.failing is not None) is fails


def test_what_goes_on_differing_is_damaged():
    tired = copied(PLAIN, disagreements=3, **READ)
    assert settle.reread(facts(tired, READ_BACK), LIMITS) is None


ONE = ledger.write_parts(Plan(SIZE, 1, 4, 1), SIZE, {1: Part(etag(1), None)})
ONE_ETAG = ledger.composite_etag({1: Part(etag(1), None)}) or ""
AS_ONE = replace(COPIED, plan=Plan(SIZE, 1, 4, 1), batches=ONE, source=replace(PLAIN, etag=etag(1)))


@pytest.mark.parametrize(
    ("status", "head", "method"),
    [
        (copied(LAYOUT), MADE, "CompositeETag"),
        (AS_ONE, replace(MADE, etag=ONE_ETAG), "MD5"),
        (AS_ONE, replace(MADE, etag="opaque"), None),
        (copied(WITH_CRC), replace(MADE, crc64nvme=CRC), "CRC64NVME"),
        (copied(WITH_CRC), MADE, None),
        (copied(PLAIN), replace(MADE, crc64nvme=CRC), None),
        (copied(PLAIN), MADE, None),
        (copied(WRONG_LAYOUT), MADE, None),
        (copied(replace(LAYOUT, encrypted=True)), MADE, None),
        (copied(LAYOUT), replace(MADE, encrypted_by_key=True), None),
        (copied(replace(LAYOUT, part_size=8 * MiB)), MADE, None),
        (copied(PLAIN, **READ), MADE, "ReadBack"),
        (copied(PLAIN, destination_reading=Reading("e", "1-20")), MADE, None),
    ],
)
def test_both_legs_are_proven_at_once_or_neither(status, head, method):
    found = proof.conclude(status, head, VerificationMode.AUTO)
    assert found.result is (Result.VERIFIED if method else Result.UNVERIFIED)
    for leg in (found.transfer, found.source):
        assert (leg.method if leg else None) == method
    if not method:
        assert "ReadBack" in found.detail


def test_none_claims_nothing():
    found = proof.conclude(copied(LAYOUT), MADE, VerificationMode.NONE)
    assert (found.result, found.transfer) == (Result.UNVERIFIED, None)


def test_secrets_are_not_compared_by_name():
    """One endpoint with two Secrets is one store: whether they are let in alike is tried."""
    other = replace(WITHIN.source.s3, secret_ref=Reference("other"))
    assert outcome.relay_because(replace(WITHIN, source=Source(other))) is None
