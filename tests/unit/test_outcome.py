"""What the effects find out, and the status that follows from it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from multipartcopy.api.conditions import summarize
from multipartcopy.api.location import S3Location
from multipartcopy.api.names import SOURCE_STAMP
from multipartcopy.api.report import WorkerError
from multipartcopy.api.spec import (
    EncryptionType,
    Overwrite,
    S3Destination,
    ServerSideEncryption,
    Source,
    Target,
    VerificationMode,
)
from multipartcopy.api.status import Claim, Failing, Intent, Phase, Retry, SourceChanges, Upload
from multipartcopy.reconcile import outcome
from multipartcopy.reconcile.decide import EndRun, Inspect, Keep, ListParts, Settle, Wait, Write
from multipartcopy.reconcile.facts import Limits, format_time
from multipartcopy.reconcile.outcome import Inspection
from multipartcopy.s3.control import ListedUpload, ObjectInfo, StoredPart
from multipartcopy.s3.errors import Kind, S3Error
from tests.unit.facts import (
    CLAIMED,
    FULL,
    NEW,
    NOW,
    OWNER,
    PLAN,
    SIZE,
    SPEC,
    UPLOADING,
    etag,
    facts,
    pod,
    report,
    with_parts,
)

LIMITS = Limits()
SOURCE = ObjectInfo(size=SIZE, etag="a" * 32)
OTHER = ObjectInfo(size=SIZE, etag="b" * 32)
STAMP = f"{'a' * 32} {SIZE}"
INSPECT = Inspect(Phase.PENDING, outcome.Reason.INSPECTING, "")
END = EndRun(Phase.COPYING, outcome.Reason.OOM_KILLED, "killed", False)
INTENT = Intent(size=SIZE, etag="c" * 32 + "-20", crc64nvme="AAAAAAAAAAE=", if_none_match=True)
SETTLING = replace(FULL, completing=INTENT, source=replace(FULL.source, etag="a" * 32))
WAITING = summarize(
    Phase.PENDING, "SecretNotFound", "", generation=1, now=format_time(NOW), before=()
)
UNREACHABLE = summarize(
    Phase.PENDING, "SourceUnavailable", "", generation=1, now=format_time(NOW), before=()
)
PARTS = [StoredPart(n, etag(n), 5 << 20, None) for n in range(1, 21)]


def seen(destination: ObjectInfo | None = None, source: ObjectInfo = SOURCE) -> Inspection:
    return Inspection(source, None, destination, (ListedUpload("stranger", NOW),), NOW)


def error(kind: Kind, side: str = "destination") -> S3Error:
    return S3Error(side, "s3://b/k", "Op", kind, "Code", "words")


@pytest.mark.parametrize(
    ("endpoint", "version", "current", "same"),
    [
        ("http://gw:7070/", None, None, True),
        ("http://GW:7070", None, None, True),
        ("http://gw:7070", "null", None, True),
        ("http://gw:7070", "null", "null", True),
        ("http://gw:7070/", "v1", "v1", True),
        ("http://gw:7070/", "v1", "v2", False),
        ("http://gw:7070", "v1", None, False),
        ("http://gw:7071", None, None, False),
        ("https://gw:7070", None, None, False),
    ],
)
def test_nothing_is_copied_onto_itself(endpoint, version, current, same):
    """However it is spelled: what replaces its own source may lose it."""
    source = S3Location("b", "k", "http://gw:7070", version_id=version)
    spec = replace(
        SPEC, source=Source(source), destination=Target(S3Destination("b", "k", endpoint))
    )
    there = replace(OTHER, version_id=current)
    found = seen(there, replace(SOURCE, version_id=version))
    result = outcome.claim(facts(spec=replace(spec, overwrite=Overwrite.ALWAYS)), found)
    assert (result.status.claim is None) is same
    if same:
        assert result.status.failing.reason == "RequestRefused"
        assert "is the source itself" in result.message


def test_a_copy_with_an_endpoint_that_is_none_holds_up_nobody():
    """The definition let some pass, and one may be there from before."""
    ours = facts().resource
    other = replace(
        ours, owner=replace(ours.owner, uid="other"), created=ours.created - timedelta(days=1)
    )
    bad = S3Destination("b", ours.spec.destination.s3.key, "https://[1:2]")
    other = replace(other, spec=replace(ours.spec, destination=Target(bad)))
    assert not outcome.goes_first(other, ours)
    assert outcome.goes_first(replace(other, spec=ours.spec), ours)


def test_the_claim_pins_plans_and_remembers_what_was_there():
    result = outcome.claim(facts(), seen(OTHER))
    status = result.status
    assert status.source
    assert (status.source.etag, status.source.size) == ("a" * 32, SIZE)
    assert status.plan
    assert status.attempt == 1
    assert status.claim == Claim(format_time(NOW), ("stranger",), "b" * 32)


@pytest.mark.parametrize(
    ("overwrite", "destination", "ends_as"),
    [
        (Overwrite.IF_DIFFERENT, SOURCE, (Phase.SUCCEEDED, "AlreadyEqual")),
        (Overwrite.IF_DIFFERENT, OTHER, (Phase.PREPARING, "Claimed")),
        (Overwrite.NEVER, SOURCE, (Phase.ABORTING, "DestinationExists")),
        (Overwrite.NEVER, None, (Phase.PREPARING, "Claimed")),
        (Overwrite.ALWAYS, SOURCE, (Phase.PREPARING, "Claimed")),
    ],
)
def test_overwrite(overwrite, destination, ends_as):
    result = outcome.claim(facts(spec=replace(SPEC, overwrite=overwrite)), seen(destination))
    assert (result.phase, result.reason) == ends_as


@pytest.mark.parametrize(
    ("mode", "stamp", "reason"),
    [
        ("None", STAMP, "AlreadyEqual"),
        ("None", f"{'b' * 32} {SIZE}", "Claimed"),
        ("Auto", STAMP, "Claimed"),
        ("ReadBack", STAMP, "Claimed"),
    ],
)
def test_a_stamp_is_enough_only_where_nothing_shall_be_proven(mode, stamp, reason):
    stamped = replace(OTHER, metadata={SOURCE_STAMP: f"{stamp} uid/1"})
    spec = replace(SPEC, verification=VerificationMode(mode))
    assert outcome.claim(facts(spec=spec), seen(stamped)).reason == reason


def test_a_new_attempt_keeps_the_pin_and_what_the_destination_was():
    claimed = replace(UPLOADING, claim=Claim(format_time(NOW), ("stranger",), "b" * 32))
    lost = outcome.new_attempt(facts(claimed), LIMITS).status
    assert (lost.upload, lost.batches, lost.run, lost.attempt) == (None, {}, 0, 2)
    assert (lost.source, lost.claim, lost.plan) == (claimed.source, claimed.claim, claimed.plan)
    assert lost.lost_uploads == 1
    tired = replace(UPLOADING, attempt=7, lost_uploads=2)
    assert outcome.new_attempt(facts(tired), LIMITS).reason == "UploadLost"
    assert outcome.new_attempt(facts(tired), LIMITS).status.failing


def test_an_upload_that_was_not_as_it_was_created_says_what_the_store_said():
    refusal = error(Kind.PERMANENT)
    for lost in (0, 2):
        full = replace(FULL, completing=INTENT, lost_uploads=lost)
        result = outcome.new_attempt(facts(full), LIMITS, refusal)
        assert (result.reason, result.status.completing) == ("UploadLost", None)
        assert "not as it was created: destination s3://b/k: Op: Code: words" in result.message
        assert bool(result.status.failing) is (lost == 2)


def test_a_completion_that_lost_its_last_upload_is_not_settled_for_ever():
    tired = replace(FULL, lost_uploads=2, completing=Intent(SIZE, "e", "c"))
    assert outcome.new_attempt(facts(tired), LIMITS).status.completing is None


def test_an_upload_is_created_under_a_fresh_claim_only():
    claimed = replace(CLAIMED, claim=Claim(format_time(NOW), ("old",), "b" * 32))
    later = NOW + timedelta(hours=5)
    assert claimed.claim
    assert not outcome.is_stale(claimed.claim, NOW + timedelta(seconds=30))
    assert outcome.is_stale(claimed.claim, later)
    strangers = [ListedUpload("theirs", later - timedelta(seconds=1))]
    assert outcome.our_uploads(claimed.claim, strangers) == []
    renewed = outcome.reclaim(facts(claimed), strangers, later).status.claim
    assert renewed == Claim(format_time(later), ("theirs",), "b" * 32)


@pytest.mark.parametrize(
    ("theirs", "spec", "first"),
    [
        ({}, {}, True),
        ({"created": NOW + timedelta(seconds=1)}, {}, False),
        ({"created": NOW + timedelta(seconds=1), "status": CLAIMED}, {}, True),
        ({"status": replace(CLAIMED, completion_time=format_time(NOW))}, {}, False),
        ({}, {"suspend": True}, False),
        ({"status": replace(NEW, conditions=WAITING)}, {}, False),
        ({"status": replace(NEW, conditions=UNREACHABLE)}, {}, False),
        ({"status": replace(CLAIMED, conditions=UNREACHABLE)}, {}, True),
    ],
)
def test_of_two_with_one_destination(theirs, spec, first):
    ours = facts().resource
    owner = replace(OWNER, name="other", uid="0-older")
    other = replace(ours, owner=owner, spec=replace(SPEC, **spec), **theirs)
    assert outcome.goes_first(other, ours) is first
    assert not outcome.goes_first(ours, ours)


@pytest.mark.parametrize(
    ("endpoint", "same"),
    [
        ("http://minio:80/", True),
        ("http://MinIO", True),
        ("https://minio:80", False),
        ("http://minio:9000", False),
        ("http://minio:99999", False),
        ("http://minio/s3", False),
    ],
)
def test_one_destination_in_two_spellings(endpoint, same):
    def copy(uid, endpoint):
        to = replace(SPEC.destination, s3=replace(SPEC.destination.s3, endpoint=endpoint))
        owner = replace(OWNER, uid=uid)
        return replace(facts(spec=replace(SPEC, destination=to)).resource, owner=owner)

    assert outcome.goes_first(copy("0-older", endpoint), copy("1-ours", "http://minio")) is same


def test_a_claim_remembers_the_newest_uploads():
    many = tuple(ListedUpload(str(n), NOW + timedelta(seconds=n)) for n in range(300))
    claimed = outcome.claim(facts(), replace(seen(), uploads=many)).status.claim
    assert claimed
    assert len(claimed.uploads) == 100
    assert claimed.uploads[0] == "299"


def test_a_final_error_while_settling_ends_the_copy():
    away = error(Kind.NO_BUCKET)
    settle = Settle(Phase.COMPLETING, outcome.Reason.COMPLETING, "")
    result = outcome.refused(facts(SETTLING), settle, away, LIMITS, None)
    assert isinstance(result, Write)
    assert result.status.completing is None
    assert result.status.failing


def test_an_endpoint_that_is_refused_may_be_allowed_some_day():
    settle = Settle(Phase.COMPLETING, outcome.Reason.COMPLETING, "")
    result = outcome.refused(facts(SETTLING), settle, error(Kind.REFUSED), LIMITS, None)
    assert (type(result), result.reason) == (Wait, "EndpointRefused")


def test_a_source_without_a_strong_etag_is_refused():
    for tag in ("", 'W/"x'):
        result = outcome.claim(facts(), seen(source=replace(SOURCE, etag=tag)))
        assert result.status.failing


def test_only_a_new_upload_can_be_ours():
    claimed = Claim(format_time(NOW), ("old",))
    listed = [
        ListedUpload("old", NOW + timedelta(seconds=1)),
        ListedUpload("earlier", NOW - timedelta(seconds=2)),
        ListedUpload("ours", NOW + timedelta(milliseconds=10)),
    ]
    assert outcome.our_uploads(claimed, listed) == ["ours"]


def test_runs_without_progress_come_later_and_later():
    status = UPLOADING
    delays = []
    for _ in range(10):
        result = outcome.end_run(facts(status), END, False, status, [], LIMITS)
        status = result.status
        retry = status.retry
        assert retry
        assert retry.not_before
        due = outcome.parse_time(retry.not_before)
        delays.append((due - facts().now.replace(microsecond=0)).total_seconds())
    assert delays == [2, 5, 10, 20, 40, 80, 160, 300, 300, 300]
    better = outcome.end_run(facts(status), END, True, status, [], LIMITS)
    assert better.status.retry == Retry()


def test_only_runs_that_were_denied_throughout_count_as_denied():
    denied = pod(report("", range(0), error=WorkerError("AccessDenied", "no")), code=1)
    other = pod("", code=137, uid="other")
    status = replace(UPLOADING, retry=Retry(7, denied=2))
    one = outcome.end_run(facts(status, pods=(denied,)), END, False, status, [], LIMITS)
    assert one.status.retry
    assert (one.status.retry.failures, one.status.retry.denied) == (8, 3)
    two = outcome.end_run(facts(status, pods=(denied, other)), END, False, status, [], LIMITS)
    assert two.status.retry
    assert two.status.retry.denied == 0


GROWING = replace(SPEC, worker=replace(SPEC.worker, max_memory="200Mi"))


def end_killed(status, limit="64Mi", spec=SPEC, *others, progressed=False):
    told = replace(report("", range(0)), run=status.run, peak_rss=60 << 20)
    killed = pod(told, code=137, reason="OOMKilled", run=status.run, memory_limit=limit)
    seen = facts(status, spec, pods=(killed, *others))
    return outcome.end_run(seen, END, progressed, status, [], LIMITS)


def test_the_memory_is_written_as_the_status_has_it():
    """However the spec writes it."""
    spec = replace(SPEC, worker=replace(SPEC.worker, max_memory="096Mi"))
    assert end_killed(UPLOADING, "64Mi", spec).status.worker_memory == "96Mi"


def test_workers_that_were_killed_at_their_limit_get_twice_as_much_up_to_the_most():
    status, limit = UPLOADING, "64Mi"
    for more in ("128Mi", "200Mi"):
        result = end_killed(status, limit, GROWING)
        status, limit = result.status, more
        assert (status.worker_memory, status.retry) == (more, None)
        assert result.reason == status.last_failure.reason == "OOMKilled"
        assert "it had used 60.0 MiB" in result.message
        assert f"; the next run has {more}" in result.message
        assert status.last_failure.message == result.message
    last = end_killed(status, limit, GROWING).status
    assert (last.worker_memory, last.retry.killed, last.retry.memory) == ("200Mi", 1, "200Mi")


def test_more_memory_also_where_other_parts_were_sent():
    good = pod(report("1-5", range(1, 6)), uid="good")
    result = end_killed(UPLOADING, "64Mi", GROWING, good, progressed=True)
    assert result.status.worker_memory == "128Mi"


def test_a_limit_that_was_changed_meanwhile_is_not_raised():
    mended = replace(GROWING.worker, resources={"limits": {"memory": "96Mi"}})
    result = end_killed(UPLOADING, "64Mi", replace(GROWING, worker=mended))
    assert result.status.worker_memory is None
    assert result.status.retry.killed == 1


def test_kills_at_one_limit_are_counted_and_those_at_another_begin_anew():
    status = UPLOADING
    for n in range(1, 5):
        status = end_killed(status).status
        assert (status.retry.failures, status.retry.killed, status.retry.memory) == (n, n, "64Mi")
    mended = end_killed(status, "96Mi").status
    assert (mended.retry.failures, mended.retry.killed, mended.retry.memory) == (5, 1, "96Mi")
    other = pod("", code=1, uid="other", run=status.run)
    assert end_killed(status, "64Mi", SPEC, other).status.retry.killed == 0
    assert end_killed(status, progressed=True).status.retry == Retry()


def test_the_intent_needs_the_stores_word_for_every_part():
    assert outcome.intend(facts(FULL), PARTS, LIMITS).status.completing
    again = outcome.intend(facts(FULL), PARTS[1:], LIMITS)
    assert again.status.completing is None
    assert again.status.run == FULL.run + 1
    assert again.reason == "PartsDisagree"
    hopeless = outcome.intend(facts(replace(FULL, disagreements=3)), PARTS[1:], LIMITS)
    assert hopeless.status.failing


@pytest.mark.parametrize(
    ("overwrite", "there", "if_match", "if_none_match"),
    [
        (Overwrite.ALWAYS, "x", None, False),
        (Overwrite.ALWAYS, None, None, False),
        (Overwrite.NEVER, None, None, True),
        (Overwrite.IF_DIFFERENT, None, None, True),
        (Overwrite.IF_DIFFERENT, "x", "x", False),
    ],
)
def test_preconditions(overwrite, there, if_match, if_none_match):
    status = replace(FULL, claim=Claim(format_time(NOW), (), there))
    spec = replace(SPEC, overwrite=overwrite)
    intent = outcome.intend(facts(status, spec), PARTS, LIMITS).status.completing
    assert intent
    assert (intent.if_match, intent.if_none_match) == (if_match, if_none_match)


def test_a_store_that_is_away_is_waited_for():
    for side, reason in (
        ("source", "SourceUnavailable"),
        ("destination", "DestinationUnavailable"),
    ):
        result = outcome.refused(facts(), INSPECT, error(Kind.RETRY, side), LIMITS, None)
        assert isinstance(result, Wait)
        assert result.reason == reason


def test_a_refusal_is_given_time_to_be_mended():
    denied = error(Kind.DENIED, "source")
    assert isinstance(outcome.refused(facts(), INSPECT, denied, LIMITS, NOW), Wait)
    long_ago = NOW - timedelta(hours=1)
    result = outcome.refused(facts(), INSPECT, denied, LIMITS, long_ago)
    assert isinstance(result, Write)
    assert result.status.failing


def test_what_cannot_pass_ends_the_copy():
    for kind, reason in (
        (Kind.NO_OBJECT, "SourceNotFound"),
        (Kind.NO_BUCKET, "BucketNotFound"),
        (Kind.PRECONDITION, "SourceChanged"),
    ):
        result = outcome.refused(facts(NEW), INSPECT, error(kind, "source"), LIMITS, None)
        assert isinstance(result, Write)
        assert (result.phase, result.reason) == (Phase.ABORTING, reason)


def test_progress():
    half = with_parts(UPLOADING, range(1, 11))
    progress = outcome.measure(half, NOW + timedelta(seconds=10)).progress
    assert progress
    assert (progress.parts, progress.percent, progress.size) == ("10/20", 50, "100.0 MiB")
    assert progress.bytes_per_second == SIZE // 20
    shown = outcome.measure(half, NOW, received=SIZE * 3 // 4).progress
    assert shown
    assert (shown.parts_done, shown.percent) == (10, 75)


LIST = ListParts(Phase.COPYING, outcome.Reason.COPYING, "copying")


def test_a_listing_records_the_reports_as_well_by_one_write():
    told = pod(report("1-5", range(1, 6)))
    step = outcome.listed(facts(UPLOADING, pods=(told,)), LIST, PARTS[:7])
    assert isinstance(step, Write)
    assert step.status.progress
    assert (step.status.progress.parts_done, step.status.progress.percent) == (5, 35)


def test_a_large_resource_is_not_written_for_a_listing_that_moves_no_percent():
    large = {"status_bytes": 400_000, "written_at": NOW}
    first = outcome.listed(facts(UPLOADING, **large), LIST, PARTS[:7])
    assert isinstance(first, Write)
    assert isinstance(outcome.listed(facts(first.status, **large), LIST, PARTS[:7]), Wait)
    assert isinstance(outcome.listed(facts(first.status, **large), LIST, PARTS[:8]), Write)
    small = {"status_bytes": 4_000, "written_at": NOW}
    assert isinstance(outcome.listed(facts(first.status, **small), LIST, PARTS[:7]), Write)


def test_a_failed_copy_says_how_far_it_was():
    half = outcome.measure(with_parts(UPLOADING, range(1, 11)), NOW)
    failing = outcome.give_up(facts(half), "SourceChanged", "it changed").status
    left = outcome.aborted(facts(failing), INSPECT).status
    assert (left.batches, left.upload, left.claim) == ({}, None, None)
    assert left.progress == half.progress


def test_an_upload_left_behind_is_named():
    failing = outcome.give_up(facts(UPLOADING), "SourceChanged", "it changed").status
    result, uploads = outcome.left_behind(facts(failing), INSPECT)
    sentence = outcome.left_behind_sentence(facts(failing), uploads)
    for word in ("upload-1", "s3://to/key", "http://b:1"):
        assert word in sentence
    assert result.status.failing
    assert sentence in result.status.failing.message
    assert result.status.upload


def test_where_etags_are_no_md5s_none_is_compared():
    """MinIO does not say so when the upload is created."""
    to = replace(
        SPEC.destination.s3, server_side_encryption=ServerSideEncryption(EncryptionType.KMS)
    )
    kms = replace(SPEC, destination=replace(SPEC.destination, s3=to))
    for spec, plain in ((SPEC, True), (kms, False)):
        upload = outcome.uploading(facts(CLAIMED, spec), Upload("u")).status.upload
        assert (upload.md5, upload.encrypted) == (plain, not plain)
    assert not outcome.uploading(facts(CLAIMED), Upload("u", encrypted=True)).status.upload.md5


def test_an_upload_that_is_kept_is_named_with_all_that_was_reported():
    failing = Failing("AccessDenied", "no", format_time(NOW))
    late = pod(report("1-2", range(1, 3)))
    action = Keep(Phase.ABORTING, outcome.Reason.ACCESS_DENIED, "no")
    result = outcome.kept(facts(replace(UPLOADING, failing=failing), gone_pods=(late,)), action)
    assert result.phase is Phase.FAILED
    assert result.message == (
        "no; multipart upload upload-1 of s3://to/key at http://b:1 is kept for another try"
    )
    kept = replace(result.status, phase=result.phase)
    assert kept.kept
    assert kept.over
    assert kept.batches["0"].parts == "1-2"
    assert kept.progress.parts == "2/20"
    gone = outcome.aborted(facts(kept), action).status
    assert (gone.upload, gone.failing, gone.batches) == (None, None, {})


def test_an_upload_is_taken_up_again_under_a_new_claim_and_run():
    resuming = replace(with_parts(UPLOADING, range(1, 8)), resuming=True, start_time=None)
    later = NOW + timedelta(days=3)
    uploads = [ListedUpload("upload-1", NOW), ListedUpload("stranger", NOW)]
    result = outcome.resumed(facts(resuming, now=later), OTHER, uploads, later)
    after = result.status
    assert (after.upload, after.batches, after.plan) == (resuming.upload, resuming.batches, PLAN)
    assert (after.attempt, after.run, after.resuming) == (1, 2, False)
    assert after.start_time == format_time(later)
    assert after.claim == Claim(format_time(later), ("upload-1", "stranger"), "b" * 32)


def test_what_may_not_be_overwritten_is_not_though_it_came_after_the_failure():
    never = replace(SPEC, overwrite=Overwrite.NEVER)
    resuming = replace(UPLOADING, resuming=True)
    result = outcome.resumed(facts(resuming, never), OTHER, [], NOW)
    assert result.reason == "DestinationExists"
    assert result.status.failing
    assert not result.status.resuming


def test_two_that_are_tried_again_do_not_wait_for_each_other():
    mine = facts(replace(UPLOADING, resuming=True)).resource
    owner = replace(OWNER, uid="0000")
    other = replace(mine, owner=owner)
    assert [outcome.goes_first(other, mine), outcome.goes_first(mine, other)] == [True, False]


@pytest.mark.parametrize(
    ("overwrite", "there", "reason"),
    [
        (Overwrite.IF_DIFFERENT, OTHER, "Claimed"),
        (Overwrite.IF_DIFFERENT, replace(OTHER, etag="c" * 32), "DestinationChanged"),
        (Overwrite.IF_DIFFERENT, None, "DestinationChanged"),
        (Overwrite.IF_DIFFERENT, SOURCE, "AlreadyEqual"),
        (Overwrite.NEVER, OTHER, "DestinationExists"),
        (Overwrite.ALWAYS, replace(OTHER, etag="c" * 32), "Claimed"),
    ],
)
def test_what_the_destination_was_at_first_counts_for_another_source_too(overwrite, there, reason):
    again = replace(NEW, attempt=1, source_changes=SourceChanges(1, OTHER.etag))
    result = outcome.claim(facts(again, replace(SPEC, overwrite=overwrite)), seen(there))
    assert result.reason == reason
    if reason == "Claimed":
        assert result.status.attempt == 2
