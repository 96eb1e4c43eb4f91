"""The decision as a table: what is observed, what is done next."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from multipartcopy.api.report import WorkerError, pack_crcs
from multipartcopy.api.spec import OnFailure, OnSourceChange, Overwrite
from multipartcopy.api.status import (
    Claim,
    Destination,
    Failing,
    Intent,
    LastFailure,
    Phase,
    Pin,
    Plan,
    Reading,
    Retry,
    SourceChanges,
    Status,
)
from multipartcopy.api.task import Read
from multipartcopy.jobs import Image, build_job, worker_spec
from multipartcopy.reconcile import decide as steps
from multipartcopy.reconcile import ledger
from multipartcopy.reconcile.decide import decide
from multipartcopy.reconcile.facts import Limits, format_time, read_job
from multipartcopy.reconcile.ledger import object_crc
from multipartcopy.reconcile.outcome import intend
from multipartcopy.s3.control import StoredPart
from tests.unit import phases
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
    job,
    pod,
    report,
    with_parts,
)

INTENT = Intent(size=SIZE, etag="e", crc64nvme=object_crc(FULL))
FAILING = Failing("SourceChanged", "it changed", format_time(NOW))
MADE = Destination("e", 1)
SUCCEEDED = replace(NEW, phase=Phase.SUCCEEDED, completion_time=format_time(NOW), destination=MADE)
LATER = NOW + timedelta(hours=1)
YESTERDAY = NOW - timedelta(days=1)
TIRED = NOW - timedelta(seconds=1801)
SOON = format_time(NOW)
STRAYS = ("stray",)
READ_ALL = Reading("e", "1-20")
READ_SOME = replace(FULL, source_reading=Reading("e", "1-19"))
READ_MADE = replace(FULL, source_reading=READ_ALL, destination=MADE, destination_reading=READ_ALL)
READ_REST = replace(report("20", range(20, 21)), etags=(), read=Read.SOURCE)
SUSPENDED = replace(SPEC, suspend=True)
EMPTY = replace(CLAIMED, source=Pin("abc", 0), plan=Plan(5 << 20, 0, 4, 0))
NOTHING = Intent(size=0, etag="e", crc64nvme=object_crc(EMPTY))
KNOWN = replace(FULL, last_failure=LastFailure("WorkerFailed", "lost", time=format_time(NOW)))
LOST = pod("", code=-1, disrupted="the node is gone")
AWAY = (steps.Reason.DESTINATION_UNAVAILABLE, "away")
ONE = report("1", range(1, 2))
KEEP = replace(SPEC, on_failure=OnFailure.KEEP)
DENIED = Failing("AccessDenied", "no", format_time(NOW))
GIVEN_UP = replace(UPLOADING, failing=DENIED)
FAILED = replace(NEW, phase=Phase.FAILED, attempt=1, completion_time=SOON)
KEPT = replace(GIVEN_UP, phase=Phase.FAILED, completion_time=SOON)
RESUMING = replace(UPLOADING, phase=Phase.PENDING, start_time=None, resuming=True)
BRIEF = replace(KEEP, ttl_seconds_after_finished=0)


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        # Beginning.
        (facts(finalizer=False), steps.AddFinalizer),
        (facts(), steps.Inspect),
        (facts(CLAIMED), steps.CreateUpload),
        (facts(EMPTY), steps.CrossCheck),
        # Copying.
        (facts(UPLOADING), steps.StartRun),
        (facts(UPLOADING, jobs=(job(run=0),)), steps.DeleteJobs),
        (facts(UPLOADING, jobs=(job(deleting=True),)), steps.Wait),
        (facts(UPLOADING, jobs=(job(),)), steps.Wait),
        (facts(UPLOADING, jobs=(job(),), pods=(pod(),)), steps.ListParts),
        (facts(UPLOADING, jobs=(job(),), pods=(pod(),), listed_at=NOW), steps.Wait),
        (facts(UPLOADING, jobs=(job(parallelism=2),), pods=(pod(),)), steps.Scale),
        (facts(UPLOADING, jobs=(job(),), pods=(pod(ONE),)), steps.Write),
        (facts(UPLOADING, jobs=(job(),), pods=(pod(ONE),), written_at=NOW), steps.Wait),
        (facts(UPLOADING, jobs=(job(finished=True),), pods=(pod(ONE),)), steps.EndRun),
        (facts(UPLOADING, jobs=(job(finished=True),), pods=(pod(),)), steps.ListParts),
        # The end.
        (facts(FULL, jobs=(job(),)), steps.DeleteJobs),
        (facts(FULL, jobs=(job(finished=True),), pods=(pod(),)), steps.Wait),
        (facts(KNOWN, pods=(LOST,)), steps.Wait),
        (facts(KNOWN, jobs=(job(finished=True),), pods=(LOST,)), steps.DeleteJobs),
        (facts(KNOWN, jobs=(job(finished=True),), pods=(pod("", code=-1),)), steps.CrossCheck),
        (facts(FULL, jobs=(job(finished=True),), pods=(pod(ONE),)), steps.CrossCheck),
        (facts(FULL), steps.CrossCheck),
        (facts(replace(FULL, completing=INTENT)), steps.Settle),
        (facts(replace(FULL, completing=INTENT), SUSPENDED), steps.Settle),
        (facts(replace(FULL, completing=INTENT, failing=FAILING)), steps.Settle),
        # Reading again.
        (facts(READ_SOME), steps.StartRun),
        (facts(READ_SOME, jobs=(job(),), pods=(pod(),)), steps.Wait),
        (facts(READ_SOME, jobs=(job(),), pods=(pod(READ_REST),)), steps.Write),
        (facts(READ_SOME, jobs=(job(finished=True),), pods=(pod(),)), steps.Wait),
        (facts(replace(FULL, source_reading=READ_ALL)), steps.CrossCheck),
        (facts(replace(UPLOADING, source_reading=READ_ALL)), steps.StartRun),
        (facts(READ_MADE), steps.Conclude),
        (facts(READ_MADE, jobs=(job(),)), steps.Conclude),
        (facts(READ_MADE, deleted_at=NOW), steps.Abort),
        # Uploads that an edited status does not name.
        (facts(CLAIMED, strays=STRAYS), steps.AbortStrays),
        (facts(UPLOADING, strays=STRAYS), steps.AbortStrays),
        (facts(UPLOADING, strays=STRAYS, jobs=(job(upload="stray"),)), steps.DeleteJobs),
        (facts(UPLOADING, strays=STRAYS, pods=(pod(),)), steps.Wait),
        (facts(SUCCEEDED, strays=STRAYS), steps.AbortStrays),
        (facts(SUCCEEDED, strays=STRAYS, finalizer=False), steps.Wait),
        (facts(replace(NEW, failing=FAILING), strays=STRAYS), steps.Abort),
        (facts(NEW, deleted_at=NOW, strays=STRAYS), steps.Abort),
        (facts(replace(UPLOADING, phase=Phase.SUCCEEDED)), steps.StartRun),
        (facts(replace(FULL, phase=Phase.FAILED, completion_time=SOON)), steps.CrossCheck),
        (facts(UPLOADING, jobs=(job(upload="other"),)), steps.DeleteJobs),
        # An edited status of which too little is left.
        (facts(replace(FULL, plan=None)), steps.Write),
        (facts(replace(FULL, source=None), SUSPENDED), steps.Write),
        (facts(replace(CLAIMED, claim=None)), steps.Write),
        (facts(replace(FULL, claim=None, failing=FAILING)), steps.Write),
        (facts(replace(FULL, completing=INTENT, claim=None)), steps.Write),
        (facts(replace(FULL, completing=INTENT, upload=None)), steps.Write),
        (facts(replace(EMPTY, completing=NOTHING)), steps.Settle),
        (facts(UPLOADING, jobs=(job(upload="other", deleting=True),)), steps.Wait),
        # Suspension.
        (facts(NEW, SUSPENDED, finalizer=False), steps.Wait),
        (facts(UPLOADING, SUSPENDED, jobs=(job(),)), steps.DeleteJobs),
        (facts(UPLOADING, SUSPENDED, jobs=(job(deleting=True),), pods=(pod(),)), steps.Wait),
        (facts(UPLOADING, SUSPENDED, pods=(pod(ONE),)), steps.Write),
        (facts(replace(UPLOADING, start_time=None), SUSPENDED), steps.Wait),
        (facts(replace(UPLOADING, start_time=None)), steps.Write),
        # Failure: stop, abort, say so.
        (facts(replace(UPLOADING, failing=FAILING), jobs=(job(),)), steps.DeleteJobs),
        (facts(replace(UPLOADING, failing=FAILING), pods=(pod(),)), steps.Wait),
        (facts(replace(UPLOADING, failing=FAILING)), steps.Abort),
        (facts(replace(CLAIMED, failing=FAILING)), steps.Abort),
        (facts(replace(EMPTY, failing=FAILING)), steps.Write),
        (facts(replace(NEW, failing=FAILING)), steps.Write),
        # Deletion.
        (facts(UPLOADING, deleted_at=NOW, jobs=(job(),)), steps.DeleteJobs),
        (facts(UPLOADING, deleted_at=NOW, pods=(pod(),)), steps.Wait),
        (facts(UPLOADING, deleted_at=NOW), steps.Abort),
        (facts(CLAIMED, deleted_at=NOW), steps.Abort),
        (facts(replace(FULL, completing=INTENT), deleted_at=NOW), steps.Abort),
        (facts(UPLOADING, deleted_at=NOW - timedelta(days=1)), steps.Abort),
        # Whatever else was in trouble, and however long ago it was deleted: only its own vain tries count.
        (facts(UPLOADING, deleted_at=YESTERDAY, trouble=AWAY), steps.Abort),
        (facts(UPLOADING, deleted_at=YESTERDAY, abort_failed_since=NOW), steps.Abort),
        (facts(UPLOADING, deleted_at=YESTERDAY, abort_failed_since=TIRED), steps.GiveUpAbort),
        (facts(UPLOADING, deleted_at=NOW, abort_failed_since=YESTERDAY), steps.Abort),
        (facts(NEW, deleted_at=NOW), steps.RemoveFinalizer),
        (facts(SUCCEEDED, deleted_at=NOW), steps.RemoveFinalizer),
        (facts(NEW, deleted_at=NOW, finalizer=False), steps.Wait),
        # What somebody has taken the finalizer from.
        (facts(UPLOADING, finalizer=False), steps.AddFinalizer),
        (facts(KEPT, KEEP, finalizer=False), steps.AddFinalizer),
        (facts(UPLOADING, deleted_at=NOW, finalizer=False), steps.Wait),
        # Rest.
        (facts(SUCCEEDED, jobs=(job(),)), steps.DeleteJobs),
        (facts(SUCCEEDED), steps.RemoveFinalizer),
        (facts(SUCCEEDED, finalizer=False), steps.Wait),
        (facts(SUCCEEDED, SUSPENDED, finalizer=False), steps.Wait),
        (
            facts(SUCCEEDED, replace(SPEC, ttl_seconds_after_finished=0), finalizer=False),
            steps.DeleteResource,
        ),
        # Keeping the upload of what has failed.
        (facts(GIVEN_UP, KEEP, jobs=(job(),)), steps.DeleteJobs),
        (facts(GIVEN_UP, KEEP, pods=(pod(),)), steps.Wait),
        (facts(GIVEN_UP, KEEP), steps.Keep),
        (facts(GIVEN_UP, KEEP, trouble=AWAY, now=LATER), steps.Keep),
        (facts(GIVEN_UP, KEEP, strays=STRAYS), steps.AbortStrays),
        (
            facts(GIVEN_UP, KEEP, strays=STRAYS, abort_failed_since=NOW, now=LATER),
            steps.GiveUpAbort,
        ),
        (facts(GIVEN_UP, KEEP, deleted_at=NOW), steps.Abort),
        (facts(replace(CLAIMED, failing=DENIED), KEEP), steps.Abort),
        (facts(replace(UPLOADING, failing=FAILING), KEEP), steps.Abort),
        (facts(replace(READ_MADE, failing=DENIED), KEEP), steps.Abort),
        (facts(replace(GIVEN_UP, plan=None), KEEP), steps.Abort),
        (facts(KEPT, KEEP, jobs=(job(),)), steps.DeleteJobs),
        (facts(KEPT, KEEP), steps.Wait),
        (facts(KEPT, KEEP, trouble=AWAY, now=LATER), steps.Wait),
        (facts(KEPT, KEEP, strays=STRAYS), steps.AbortStrays),
        (facts(KEPT), steps.Abort),
        (facts(KEPT, trouble=AWAY, now=LATER), steps.Abort),
        (facts(KEPT, BRIEF), steps.DeleteResource),
        (facts(KEPT, KEEP, deleted_at=NOW), steps.Abort),
        (facts(replace(KEPT, phase=Phase.PENDING), KEEP), steps.Keep),
        (facts(replace(KEPT, failing=None), KEEP), steps.StartRun),
        # Trying again.
        (facts(FAILED, retry="1"), steps.Write),
        (facts(replace(FAILED, handled_retry="1"), retry="1"), steps.RemoveFinalizer),
        (facts(FAILED, retry="1", deleted_at=NOW), steps.RemoveFinalizer),
        (facts(KEPT, KEEP, retry="1"), steps.Write),
        (facts(KEPT, retry="1"), steps.Write),
        (facts(replace(KEPT, handled_retry="1"), KEEP, retry="1"), steps.Wait),
        (facts(GIVEN_UP, retry="1"), steps.Abort),
        (facts(UPLOADING, retry="1"), steps.StartRun),
        (facts(SUCCEEDED, retry="1"), steps.RemoveFinalizer),
        (facts(RESUMING), steps.Resume),
        (facts(RESUMING, finalizer=False), steps.AddFinalizer),
        (facts(RESUMING, SUSPENDED), steps.Wait),
        (facts(RESUMING, deleted_at=NOW), steps.Abort),
        (facts(replace(RESUMING, failing=DENIED), KEEP), steps.Keep),
        (facts(replace(RESUMING, claim=None)), steps.Write),
    ],
)
def test_next_step(observed, expected):
    assert type(decide(observed)) is expected


RESTART = replace(SPEC, on_source_change=OnSourceChange.RESTART)
CHANGED = replace(UPLOADING, failing=FAILING, source_changes=SourceChanges(1, "theirs"))
GONE = replace(CHANGED, claim=None, upload=None, run=0)


@pytest.mark.parametrize(
    ("spec", "status", "recorded"),
    [
        (SPEC, UPLOADING, None),
        (RESTART, UPLOADING, SourceChanges(1, None)),
        (RESTART, replace(UPLOADING, claim=Claim(SOON, (), "a")), SourceChanges(1, "a")),
        (
            RESTART,
            replace(UPLOADING, source_changes=SourceChanges(2, "b")),
            SourceChanges(3, "b"),
        ),
        (RESTART, READ_MADE, None),
    ],
)
def test_a_change_of_the_source_is_counted_with_what_the_destination_was_at_first(
    spec, status, recorded
):
    step = steps.give_up(facts(status, spec), steps.Reason.SOURCE_CHANGED, "it changed")
    assert step.status.source_changes == recorded
    assert step.status.failing
    other = steps.give_up(facts(status, spec), steps.Reason.REQUEST_REFUSED, "no")
    assert other.status.source_changes == status.source_changes


@pytest.mark.parametrize(
    ("spec", "status", "phase"),
    [
        (RESTART, GONE, Phase.PENDING),
        (RESTART, replace(EMPTY, failing=FAILING, source_changes=SourceChanges(1)), Phase.PENDING),
        (RESTART, replace(GONE, source_changes=SourceChanges(3)), Phase.PENDING),
        (RESTART, replace(GONE, source_changes=SourceChanges(4)), Phase.FAILED),
        (RESTART, replace(GONE, source_changes=None), Phase.FAILED),
        (RESTART, replace(GONE, failing=DENIED), Phase.FAILED),
        (RESTART, replace(GONE, upload=UPLOADING.upload), Phase.FAILED),  # left behind
        (SPEC, GONE, Phase.FAILED),
    ],
)
def test_a_copy_begins_anew_with_a_changed_source_when_nothing_of_before_is_left(
    spec, status, phase
):
    assert isinstance(decide(facts(CHANGED, spec)), steps.Abort)
    step = decide(facts(replace(status, handled_retry="1"), spec))
    assert isinstance(step, steps.Write)
    assert step.phase is phase
    if phase is Phase.PENDING:
        assert step.status == Status(
            attempt=1,
            start_time=status.start_time,
            handled_retry="1",
            source_changes=status.source_changes,
        )
        assert f"time {status.source_changes.count} of at most 3" in step.message
    elif status.source_changes and status.failing is FAILING:
        assert f"it has changed {status.source_changes.count} times" in step.message


def test_what_has_failed_begins_again_with_nothing_of_before():
    step = decide(facts(replace(FAILED, last_failure=KNOWN.last_failure), retry="1"))
    assert isinstance(step, steps.Write)
    assert (step.phase, step.status.handled_retry, step.status.attempt) == (Phase.PENDING, "1", 1)
    blank = replace(NEW, handled_retry="1", attempt=1, last_failure=KNOWN.last_failure)
    assert step.status == blank


def test_what_has_kept_its_upload_begins_again_with_it():
    kept = replace(with_parts(KEPT, range(1, 8)), lost_uploads=2, retry=Retry(5, None, 5))
    step = decide(facts(kept, KEEP, retry="1"))
    assert isinstance(step, steps.Write)
    after = step.status
    assert (after.upload, after.batches, after.claim) == (kept.upload, kept.batches, kept.claim)
    assert (after.failing, after.completion_time, after.start_time) == (None, None, None)
    assert (after.resuming, after.lost_uploads, after.retry) == (True, 0, None)
    assert not after.over


def test_only_what_is_missing_is_copied():
    step = decide(facts(with_parts(UPLOADING, range(1, 8))))
    assert isinstance(step, steps.StartRun)
    assert [(w.batch, w.parts) for w in step.work] == [(1, "8-10"), (2, "11-15"), (3, "16-20")]


def test_a_report_of_another_upload_is_ignored():
    stray = report("1", range(1, 2), upload="upload-of-somebody")
    assert isinstance(decide(facts(UPLOADING, jobs=(job(),), pods=(pod(stray),))), steps.Wait)


def test_a_report_is_recorded_though_its_pod_is_gone():
    step = decide(facts(UPLOADING, jobs=(job(),), gone_pods=(pod(ONE),)))
    assert isinstance(step, steps.Write)
    assert step.status.batches["0"].parts == "1"


def test_the_report_that_fills_the_ledger_is_written_at_once():
    rest = with_parts(UPLOADING, range(2, 21))
    step = decide(facts(rest, jobs=(job(),), pods=(pod(ONE),), written_at=NOW))
    assert isinstance(step, steps.Write)


def test_a_permanent_error_ends_the_attempt_and_keeps_what_was_reported():
    changed = report("1", range(1, 2), error=WorkerError("SourceChanged", "other ETag", 7))
    step = decide(facts(UPLOADING, jobs=(job(),), pods=(pod(changed, code=42, reason="Error"),)))
    assert isinstance(step, steps.Write)
    assert step.phase is Phase.ABORTING
    assert step.status.failing
    assert (step.status.failing.reason, step.status.failing.message) == (
        "SourceChanged",
        "other ETag",
    )
    assert step.status.last_failure
    assert step.status.last_failure.part == 7
    assert step.status.batches["0"].parts == "1"


def test_a_lost_upload_is_looked_into():
    lost = report("", range(0), error=WorkerError("UploadLost", "NoSuchUpload"))
    step = decide(facts(UPLOADING, jobs=(job(),), pods=(pod(lost, code=42),)))
    assert isinstance(step, steps.LoseUpload)


@pytest.mark.parametrize(
    ("seen", "reason", "words"),
    [
        ({"pods": (pod("", code=137, reason="OOMKilled"),)}, "OOMKilled", "limit of 64Mi"),
        ({"pods": (pod("", code=1, reason="Error"),)}, "WorkerFailed", "status 1"),
        ({"pods": (pod('{"v', code=0),)}, "ReportLost", "no readable report"),
        ({"refused": (steps.Reason.QUOTA_EXCEEDED, "exceeded quota: q")}, "QuotaExceeded", "q"),
        (
            {"pods": (pod(running=False, waiting=(steps.Reason.UNSCHEDULABLE, "0/1 nodes")),)},
            "Unschedulable",
            "0/1 nodes",
        ),
    ],
)
def test_waiting_and_retrying_say_why(seen, reason, words):
    step = decide(facts(UPLOADING, jobs=(job(),), written_at=NOW, **seen))
    if isinstance(step, steps.Write):
        assert step.status.last_failure
        assert step.status.last_failure.reason == reason
        step = decide(facts(step.status, jobs=(job(),), written_at=NOW, **seen))
    assert isinstance(step, steps.Wait)
    assert step.reason == reason
    assert words in step.message


def test_the_reason_stays_through_the_back_off():
    failure = LastFailure("OOMKilled", "killed", time=format_time(NOW))
    waiting = replace(
        UPLOADING,
        run=2,
        retry=Retry(1, not_before=format_time(NOW + timedelta(seconds=9))),
        last_failure=failure,
    )
    step = decide(facts(waiting))
    assert isinstance(step, steps.Wait)
    assert (step.reason, step.seconds) == ("OOMKilled", pytest.approx(8))


def test_trouble_with_a_store_is_told_until_it_is_over():
    """Else an outage would be told and taken back at every look."""
    trouble = (steps.Reason.DESTINATION_UNAVAILABLE, "away")
    step = decide(facts(UPLOADING, jobs=(job(),), pods=(pod(),), listed_at=NOW, trouble=trouble))
    assert (step.reason, step.message) == trouble


HELD = job(suspended=True)
IDLE = replace(UPLOADING, start_time=None)


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        (facts(UPLOADING, jobs=(HELD,)), steps.Write),
        (facts(IDLE, jobs=(HELD,)), steps.Wait),
        (facts(IDLE, jobs=(HELD,), pods=(pod(ONE),)), steps.Write),
        (facts(IDLE, jobs=(job(),)), steps.Write),
        (facts(UPLOADING, jobs=(HELD,), pods=(pod(),)), steps.ListParts),
        (facts(UPLOADING, jobs=(replace(HELD, finished=True),)), steps.EndRun),
        (facts(IDLE, replace(SPEC, parallelism=2), jobs=(HELD,)), steps.Scale),
        (facts(IDLE, jobs=(replace(HELD, worker="other"),)), steps.DeleteJobs),
    ],
)
def test_a_suspended_job_is_waited_for(observed, expected):
    step = decide(observed)
    assert type(step) is expected
    if observed.queued:
        assert (step.phase, step.reason) == (Phase.COPYING, "JobSuspended")


def test_the_time_in_a_queue_is_not_the_copys():
    """As with a Job: the count begins anew when it goes on."""
    hurried = replace(SPEC, active_deadline_seconds=10)
    waiting = decide(facts(UPLOADING, hurried, jobs=(HELD,), now=LATER))
    assert isinstance(waiting, steps.Write)
    assert waiting.status.start_time is None
    assert not waiting.status.failing
    assert isinstance(decide(facts(waiting.status, hurried, jobs=(HELD,), now=LATER)), steps.Wait)
    resumed = decide(facts(waiting.status, hurried, jobs=(job(),), now=LATER))
    assert isinstance(resumed, steps.Write)
    assert resumed.status.start_time == format_time(LATER)


@pytest.mark.parametrize(
    ("jobs", "failed"),
    [
        ((job(),), True),
        ((job(deleting=True),), False),
        ((), False),
        ((job(uid="made anew"),), False),
    ],
)
def test_a_worker_that_was_stopped_with_its_job_has_not_failed(jobs, failed):
    stopped = report("1", range(1, 2), error=WorkerError("WorkerTerminated", "stopped by SIGTERM"))
    folded = steps.fold(facts(UPLOADING, jobs=jobs, pods=(pod(stopped, code=143),)))
    assert (folded.last_failure is not None) is failed
    assert sum(len(batch.etags) for batch in folded.batches.values()) == 1
    lost = report("1", range(1, 2), error=WorkerError("SourceUnavailable", "no answer"))
    assert steps.fold(facts(UPLOADING, jobs=jobs, pods=(pod(lost, code=1),))).last_failure


def test_after_a_suspension_no_old_failure_is_told_as_the_reason():
    known = LastFailure("SourceUnavailable", "no answer, days ago", time="2025-12-31T00:00:00Z")
    before = with_parts(replace(UPLOADING, last_failure=known), range(1, 2))
    stopped = report("1", range(1, 2), error=WorkerError("WorkerTerminated", "stopped by SIGTERM"))
    step = decide(facts(before, gone_pods=(pod(stopped, code=143),)))
    assert isinstance(step, steps.StartRun)
    assert step.reason == "Copying"


def test_a_copy_in_a_queue_says_in_which():
    worker = replace(SPEC.worker, labels={"kueue.x-k8s.io/queue-name": "nightly"})
    step = decide(facts(IDLE, replace(SPEC, worker=worker), jobs=(HELD,)))
    assert step.message == "the Job is suspended; waiting for Kueue's queue nightly"


def test_a_failure_made_good_is_past():
    failed = pod("", code=137, reason="Error", uid="1")
    assert failed.terminated
    earlier = format_time(NOW - timedelta(seconds=9))
    failed = replace(failed, terminated=replace(failed.terminated, finished_at=earlier))
    known = LastFailure("WorkerFailed", "it was", time=format_time(NOW))
    seen = with_parts(replace(UPLOADING, last_failure=known), range(1, 2))
    step = decide(facts(seen, jobs=(job(),), pods=(failed, pod(ONE)), written_at=NOW))
    assert (type(step), step.reason) == (steps.Wait, "Copying")


def test_a_running_pod_outweighs_another_that_waits():
    stuck = pod(running=False, waiting=(steps.Reason.UNSCHEDULABLE, "0/1 nodes"))
    step = decide(facts(UPLOADING, jobs=(job(),), pods=(pod(), stuck), listed_at=NOW))
    assert step.reason == "Copying"


def test_a_stuck_job_is_made_anew_for_a_changed_worker_spec():
    outdated = job(worker="other")
    assert isinstance(decide(facts(UPLOADING, jobs=(outdated,))), steps.DeleteJobs)
    assert isinstance(decide(facts(UPLOADING, jobs=(outdated,), pods=(pod(),))), steps.ListParts)
    assert isinstance(decide(facts(UPLOADING, jobs=(job(worker=worker_spec(SPEC)),))), steps.Wait)


def test_a_running_job_is_made_anew_for_another_share_of_the_bandwidth():
    limited = replace(SPEC, bandwidth_limit="100Mi")
    fitting = job(bytes_per_second=25 << 20)
    running = (pod(),)

    def step(spec, seen):
        return decide(facts(UPLOADING, spec, jobs=(seen,), pods=running))

    anew = step(limited, job())
    assert isinstance(anew, steps.DeleteJobs)
    assert anew.jobs == (job().name,)
    assert not isinstance(step(limited, fitting), steps.DeleteJobs)
    assert isinstance(step(SPEC, fitting), steps.DeleteJobs)
    # Twice as many pods would have half as much each; more than there are batches make no difference.
    assert isinstance(step(replace(limited, parallelism=2), fitting), steps.DeleteJobs)
    assert not isinstance(step(replace(limited, parallelism=8), fitting), steps.DeleteJobs)
    assert isinstance(step(replace(SPEC, parallelism=2), job()), steps.Scale)


@pytest.mark.parametrize(
    ("spec", "seen"),
    [
        (replace(SPEC, bandwidth_limit="100Mi"), job()),
        (SPEC, job(worker="other")),
        (SUSPENDED, job()),
        (SPEC, job(deleting=True)),
    ],
    ids=["bandwidth", "worker", "suspended", "deleted"],
)
def test_what_a_job_has_told_is_recorded_before_its_pods_are_gone(spec, seen):
    """Of a large resource, reports wait for half an hour to be recorded."""
    ended = pod(report("1-3", range(1, 4)))
    observed = facts(UPLOADING, spec, jobs=(seen,), pods=(ended,), written_at=NOW)
    first = decide(replace(observed, status_bytes=200_000, listed_at=NOW))
    assert isinstance(first, steps.Write)
    assert sorted(ledger.parts_of(first.status.batches)) == [1, 2, 3]
    then = decide(facts(first.status, spec, jobs=(seen,), pods=(ended,), written_at=NOW))
    assert isinstance(then, steps.Wait if seen.deleting else steps.DeleteJobs)


def test_a_job_that_cannot_replace_its_pods_is_deleted():
    """As in a namespace that is being deleted."""
    ended = pod("", code=143, deleted_at=NOW)
    seen = facts(UPLOADING, jobs=(job(),), pods=(ended,), written_at=LATER)
    told = decide(replace(seen, now=LATER))
    assert isinstance(told, steps.Write)
    kept = replace(facts(told.status, jobs=(job(),), pods=(ended,), written_at=LATER), now=LATER)
    assert isinstance(decide(kept), steps.DeleteJobs)
    replaced = replace(kept, pods=(ended, pod()), listed_at=LATER)
    assert not isinstance(decide(replaced), steps.DeleteJobs)
    anew = replace(kept, pods=(), gone_pods=(ended,))
    assert not isinstance(decide(anew), steps.DeleteJobs)


def test_the_deadline_counts_from_the_start_and_not_while_suspended():
    hurried = replace(SPEC, active_deadline_seconds=10)
    assert isinstance(decide(facts(UPLOADING, hurried)), steps.StartRun)
    late = replace(UPLOADING, start_time=format_time(NOW - timedelta(seconds=30)))
    step = decide(facts(late, hurried))
    assert isinstance(step, steps.Write)
    assert step.status.failing
    assert step.status.failing.reason == "DeadlineExceeded"
    suspended = decide(facts(late, replace(hurried, suspend=True)))
    assert isinstance(suspended, steps.Write)
    assert suspended.status.start_time is None
    completing = replace(FULL, start_time=late.start_time, completing=INTENT)
    assert isinstance(decide(facts(completing, hurried)), steps.Settle)


def test_a_cut_off_pod_holds_up_a_completion_for_ever_and_an_abort_for_a_while():
    cut_off = pod(deleted_at=NOW - timedelta(hours=1))
    assert isinstance(decide(facts(FULL, pods=(cut_off,))), steps.Wait)
    failing = replace(FULL, failing=replace(FAILING, time=format_time(NOW)))
    assert isinstance(decide(facts(failing, pods=(cut_off,))), steps.Abort)


def test_an_abort_is_given_up_in_the_end_and_never_before_it_was_tried():
    failing, impatient = replace(UPLOADING, failing=FAILING), Limits(abort_grace_seconds=0)
    assert isinstance(decide(facts(failing), impatient), steps.Abort)
    tried = facts(failing, abort_failed_since=NOW - timedelta(seconds=1))
    assert isinstance(decide(tried, impatient), steps.GiveUpAbort)


def test_progress_of_a_large_resource_is_written_once_a_minute():
    seen = {"jobs": (job(),), "pods": (pod(ONE),), "status_bytes": 400_000}
    recent, old = NOW - timedelta(seconds=30), NOW - timedelta(seconds=90)
    assert isinstance(decide(facts(UPLOADING, written_at=recent, **seen)), steps.Wait)
    assert isinstance(decide(facts(UPLOADING, written_at=old, **seen)), steps.Write)


def test_a_large_resource_is_written_for_a_hundredth_of_its_parts_or_after_half_an_hour():
    many = replace(UPLOADING, plan=replace(PLAN, part_count=10_000))
    seen = {"jobs": (job(),), "pods": (pod(ONE),)}
    early, late = NOW - timedelta(minutes=20), NOW - timedelta(minutes=40)

    def step(status: Status, written_at: datetime, size: int = 400_000) -> steps.Action:
        return decide(facts(status, written_at=written_at, status_bytes=size, **seen))

    assert isinstance(step(many, early), steps.Wait)
    assert isinstance(step(many, late), steps.Write)
    assert isinstance(step(many, early, size=4_000), steps.Write)
    enough = replace(UPLOADING, plan=replace(PLAN, part_count=100))
    assert isinstance(step(enough, early), steps.Write)


def test_a_failure_of_another_kind_is_told_at_once_by_a_large_resource_too():
    many = replace(UPLOADING, plan=replace(PLAN, part_count=10_000))
    failed = pod(report("", range(0), error=WorkerError("SourceUnavailable", "503")), code=1)
    seen = {"jobs": (job(),), "pods": (failed,), "status_bytes": 400_000}
    assert isinstance(decide(facts(many, written_at=NOW, **seen)), steps.Write)


def test_the_store_is_asked_first_since_that_records_the_reports_too_unless_it_is_away():
    seen = {"jobs": (job(),), "pods": (pod(ONE), pod(uid="other")), "written_at": None}
    assert isinstance(decide(facts(UPLOADING, **seen)), steps.ListParts)
    assert isinstance(decide(facts(UPLOADING, trouble=AWAY, **seen)), steps.Write)


def test_denied_workers_are_given_some_runs():
    failure = LastFailure("AccessDenied", "no", time=format_time(NOW))
    tired = replace(UPLOADING, run=6, retry=Retry(5, denied=5), last_failure=failure)
    step = decide(facts(tired))
    assert isinstance(step, steps.Write)
    assert step.status.failing
    assert step.status.failing.reason == "AccessDenied"
    outage = replace(tired, retry=Retry(9, denied=1))
    assert isinstance(decide(facts(outage)), steps.StartRun)
    assert isinstance(decide(facts(tired, jobs=(job(run=6),))), steps.Wait)


def test_workers_that_are_killed_at_one_limit_are_given_some_runs():
    failure = LastFailure("OOMKilled", "a worker pod was killed", time=format_time(NOW))
    tired = replace(UPLOADING, run=9, retry=Retry(8, killed=8, memory="64Mi"), last_failure=failure)
    step = decide(facts(tired))
    assert isinstance(step, steps.Write)
    assert step.status.failing
    assert step.status.failing.reason == "OOMKilled"
    assert step.message == "8 times in a row, with no part finished: a worker pod was killed"
    patient = replace(tired, retry=Retry(8, killed=7, memory="64Mi"))
    assert isinstance(decide(facts(patient)), steps.StartRun)


def test_a_job_with_more_memory_is_not_outdated():
    spec = replace(SPEC, worker=replace(SPEC.worker, max_memory="256Mi"))
    status = replace(UPLOADING, worker_memory="128Mi")
    manifest = build_job(OWNER, spec, status, ledger.missing(status), Image("i"))
    made = read_job({**manifest, "metadata": {**manifest["metadata"], "uid": "u"}})
    assert isinstance(decide(facts(status, spec, jobs=(made,))), steps.Wait)


def test_a_part_that_disagreed_is_sent_again_though_its_report_is_still_there():
    everything = pod(report("1-20", range(1, 21)))
    full = decide(facts(UPLOADING, jobs=(job(finished=True),), pods=(everything,)))
    assert isinstance(full, steps.Write)
    listing = [StoredPart(n, etag(n), 5 << 20) for n in range(1, 20)]
    dropped = intend(facts(full.status), listing, Limits()).status
    seen = {"jobs": (job(finished=True),), "pods": (everything,)}
    assert isinstance(decide(facts(dropped, **seen)), steps.DeleteJobs)
    again = decide(facts(dropped, pods=(everything,)))
    assert isinstance(again, steps.StartRun)
    assert [(w.batch, w.parts) for w in again.work] == [(3, "20")]


def test_a_report_of_a_reading_is_compared_with_the_ledger():
    step = decide(facts(READ_SOME, jobs=(job(),), pods=(pod(READ_REST),)))
    assert isinstance(step, steps.Write)
    assert step.status.source_reading == Reading("e", "1-20")
    wrong = replace(READ_REST, crc64nvme=pack_crcs([999]))
    step = decide(facts(READ_SOME, jobs=(job(),), pods=(pod(wrong),)))
    assert isinstance(step, steps.Write)
    assert step.status.source_reading == Reading("e", "1-20", "20")
    assert step.status.batches == FULL.batches


@pytest.mark.parametrize("side", [None, Read.DESTINATION])
def test_a_report_of_another_stage_is_ignored(side):
    etags = () if side else ("e",)
    stray = replace(READ_REST, etags=etags, read=side)
    assert isinstance(decide(facts(READ_SOME, jobs=(job(),), pods=(pod(stray),))), steps.Wait)


def test_a_source_that_contradicts_has_its_misread_parts_sent_again():
    misread = replace(FULL, source_reading=Reading("e", "1-20", "7-8"))
    listing = [StoredPart(n, etag(n), 5 << 20) for n in range(1, 21)]
    again = intend(facts(misread), listing, Limits())
    assert again.reason == "PartsDisagree"
    step = decide(facts(again.status))
    assert isinstance(step, steps.StartRun)
    assert [(w.batch, w.parts) for w in step.work] == [(1, "7-8")]
    assert again.status.source_reading == Reading("e", "1-6,9-20")


def test_a_store_that_refuses_checksums_after_all_is_done_without_them():
    refused = report("", range(0), error=WorkerError("ChecksumRefused", "501"))
    seen = {"pods": (pod(refused, code=42),)}
    assert isinstance(decide(facts(UPLOADING, jobs=(job(),), **seen)), steps.DeleteJobs)
    assert isinstance(decide(facts(UPLOADING, **seen)), steps.DoWithoutChecksum)
    taken = decide(facts(with_parts(UPLOADING, range(1, 3)), **seen))
    assert isinstance(taken, steps.Write)
    assert taken.status.failing
    assert taken.status.failing.reason == "RequestRefused"


def test_a_clock_set_back_delays_nothing():
    ahead = NOW + timedelta(minutes=10)
    waiting = replace(UPLOADING, retry=Retry(1, not_before=format_time(ahead)))
    assert isinstance(decide(facts(waiting)), steps.StartRun)
    seen = {"jobs": (job(),), "pods": (pod(ONE),)}
    assert isinstance(decide(facts(UPLOADING, written_at=ahead, **seen)), steps.Write)
    running = {"jobs": (job(),), "pods": (pod(),)}
    assert isinstance(decide(facts(UPLOADING, listed_at=ahead, **running)), steps.ListParts)


@pytest.mark.parametrize(
    ("reason", "left"), [("DestinationChanged", False), ("RangeNotSupported", True)]
)
def test_given_up_while_reading_back_it_says_what_is_left(reason, left):
    final = replace(READ_REST, parts="", crc64nvme="", error=WorkerError(reason, "no"))
    seen = replace(READ_MADE, destination_reading=Reading("e", "1-19"))
    final = replace(final, read=Read.DESTINATION)
    step = decide(facts(seen, pods=(pod(final, code=42),)))
    assert isinstance(step, steps.Write)
    assert step.status.failing
    assert step.status.failing.reason == reason
    assert ("unverified" in step.status.failing.message) is left
    assert (step.status.destination is not None) is left


def test_an_edited_phase_is_never_written_back():
    """Else somebody's wait for Complete would end in the middle of the copy."""
    broken = {"x": FULL.batches["0"]}
    for status in (replace(UPLOADING, start_time=None), replace(FULL, batches=broken)):
        for phase in (Phase.SUCCEEDED, Phase.FAILED):
            step = decide(facts(replace(status, phase=phase)))
            assert isinstance(step, steps.Write)
            assert step.phase is Phase.COPYING


def test_an_edited_intent_is_formed_anew():
    edited = replace(FULL, completing=replace(INTENT, crc64nvme="AAAAAAAAAAE="))
    step = decide(facts(edited))
    assert isinstance(step, steps.Write)
    assert step.status.completing is None


def test_what_is_torn_begins_anew_with_the_memory_that_it_needs():
    torn = replace(UPLOADING, plan=None, worker_memory="128Mi")
    step = decide(facts(torn))
    assert isinstance(step, steps.Write)
    assert (step.status.claim, step.status.worker_memory) == (None, "128Mi")


def test_what_failed_and_is_torn_is_not_settled():
    torn = replace(FULL, claim=None, completing=INTENT, failing=FAILING)
    assert not isinstance(decide(facts(torn)), steps.Settle)


def test_a_stray_of_a_finished_copy_is_given_up_in_the_end():
    seen = {"strays": STRAYS, "abort_failed_since": NOW}
    assert isinstance(decide(facts(SUCCEEDED, **seen)), steps.AbortStrays)
    late = replace(facts(SUCCEEDED, **seen), now=LATER)
    step = decide(late)
    assert (type(step), step.phase) == (steps.GiveUpAbort, Phase.SUCCEEDED)


@pytest.mark.parametrize("phase", [Phase.SUCCEEDED, Phase.FAILED])
def test_a_change_after_the_end_is_acknowledged_and_no_more(phase):
    """Of a condition of an older generation `kubectl wait` believes nothing: it would wait for ever."""
    resource = phases.edited(phase).read()
    step = decide(replace(facts(), resource=resource))
    assert isinstance(step, steps.Write)
    said = resource.status.conditions[0]
    assert (step.phase, step.reason, step.message) == (phase, said.reason, said.message)
    assert step.status == resource.status
    assert not isinstance(
        decide(replace(facts(), resource=phases.written(phase).read())), steps.Write
    )


@pytest.mark.parametrize("overwrite", [Overwrite.IF_DIFFERENT, Overwrite.ALWAYS])
def test_nothing_begins_anew_once_the_object_is_made(overwrite):
    """Not for the second change either."""
    made = replace(
        FULL,
        source_changes=SourceChanges(1, None),
        source_reading=Reading("abc"),
        destination=Destination("e", SIZE),
        destination_reading=Reading("e"),
    )
    spec = replace(RESTART, overwrite=overwrite)
    failing = steps.give_up(facts(made, spec), steps.Reason.SOURCE_CHANGED, "it changed").status
    ended = decide(facts(replace(failing, claim=None, upload=None, batches={}), spec))
    assert ended.phase is Phase.FAILED


def test_a_change_before_there_is_a_claim_is_no_reason_to_begin_anew():
    begun = Status(attempt=1, source_changes=SourceChanges(1), start_time=format_time(NOW))
    failing = steps.give_up(facts(begun, RESTART), steps.Reason.SOURCE_CHANGED, "412").status
    assert decide(facts(failing, RESTART)).phase is Phase.FAILED


def test_the_deadline_goes_on_between_two_claims():
    begun = Status(
        attempt=1,
        source_changes=SourceChanges(1),
        start_time=format_time(NOW - timedelta(seconds=61)),
    )
    late = decide(facts(begun, replace(RESTART, active_deadline_seconds=60)))
    assert late.reason == steps.Reason.DEADLINE_EXCEEDED
