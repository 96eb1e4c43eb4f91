"""The decision: from what was observed to the one thing to do next. Pure; it looks at nothing else.

The rules stand in the order in which they win. Each effect named here is safe to repeat, so it does
not matter which of them a predecessor that died had done: the same facts lead to the same step.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from multipartcopy.api import names
from multipartcopy.api.conditions import summary
from multipartcopy.api.quantity import format_bytes, number_of
from multipartcopy.api.ranges import parse_ranges
from multipartcopy.api.reasons import Reason, reason_of
from multipartcopy.api.spec import Mode, OnFailure, OnSourceChange
from multipartcopy.api.status import Failing, LastFailure, Phase, SourceChanges, Status
from multipartcopy.api.task import Work
from multipartcopy.jobs import bytes_per_second, worker_spec
from multipartcopy.reconcile import ledger
from multipartcopy.reconcile.facts import Facts, Job, Limits, format_time, parse_time
from multipartcopy.reconcile.queueing import pods_for, seat_of, why_not_yet

_WITHDRAWN = (Reason.CHECKSUM_MISMATCH, Reason.NOT_ENCRYPTED)
_USELESS = (
    *_WITHDRAWN,
    Reason.SOURCE_CHANGED,
    Reason.SOURCE_UNEXPECTED,
    Reason.UPLOAD_LOST,
    Reason.PARTS_DISAGREE,
    Reason.COMPLETE_UNKNOWN,
    Reason.LEDGER_TOO_LARGE,
)
"""Of what has failed so, no other try could use the upload."""
_SMALL_STATUS = 100_000
"""Bytes; a larger resource is not rewritten for every bit of progress: see ``is_news``."""
_LONGEST_UNTOLD = 1800.0
"""Seconds for which a large resource may say nothing of its progress."""

WRITE_AUTO = "write spec.mode: Auto, and the workers move the bytes where the store does not"

_REPLACED_WITHIN = 15.0
"""Seconds after the end of a deleted pod's grace; for the first failure of an index a Job waits for 10."""


@dataclass(frozen=True)
class Action:
    """What to do next. ``phase``, ``reason`` and ``message`` are what the resource says meanwhile."""

    phase: Phase
    reason: Reason
    message: str


# Effects on the resource itself.


@dataclass(frozen=True)
class AddFinalizer(Action):
    """Before the claim: from then on a deletion waits for the abort."""


@dataclass(frozen=True)
class RemoveFinalizer(Action):
    """Nothing of the copy is left."""


@dataclass(frozen=True)
class DeleteResource(Action):
    """``spec.ttlSecondsAfterFinished`` has passed."""


@dataclass(frozen=True)
class Write(Action):
    """No effect but the status."""

    status: Status


@dataclass(frozen=True)
class Wait(Action):
    """For a change, ``seconds`` at most (None: for ever, there is nothing left to do)."""

    seconds: float | None
    quiet: bool = False
    """Leave phase and conditions as they are."""


# Effects on the cluster.


@dataclass(frozen=True)
class StartRun(Action):
    """Create the Job of the current run for what the ledger lacks."""

    work: tuple[Work, ...]
    pods: int
    """At the same time; the operator may allow fewer than the spec."""


@dataclass(frozen=True)
class Scale(Action):
    """Give the running Job the parallelism that the spec asks for now."""

    job: str
    parallelism: int


@dataclass(frozen=True)
class DeleteJobs(Action):
    jobs: tuple[str, ...]


# Effects on the stores.


@dataclass(frozen=True)
class Inspect(Action):
    """Look at source and destination, plan, write the claim."""


@dataclass(frozen=True)
class CreateUpload(Action):
    """Make the multipart upload, or adopt the one that a predecessor made and could not record."""


@dataclass(frozen=True)
class ListParts(Action):
    """See how far the running workers are; record what our own checksums prove."""


@dataclass(frozen=True)
class EndRun(Action):
    """The run is over: recover what was not reported, and prepare the next one."""

    progressed: bool


@dataclass(frozen=True)
class CrossCheck(Action):
    """Compare the whole ledger with the store's list; write the intent or drop what disagrees."""


@dataclass(frozen=True)
class Settle(Action):
    """Make the object visible, and judge by a HEAD against the intent whether it is ours."""


@dataclass(frozen=True)
class Conclude(Action):
    """The object has been read again: call it copied, or take it away."""


@dataclass(frozen=True)
class Withdraw(Action):
    """Delete the object that we made and that is damaged."""


@dataclass(frozen=True)
class DoWithoutChecksum(Action):
    """The store refuses CRC64NVME with the parts: abort the upload, begin a new attempt without."""


@dataclass(frozen=True)
class Relay(Action):
    """The store refuses to copy by itself: abort the upload, begin a new attempt through the workers."""


@dataclass(frozen=True)
class AbortStrays(Action):
    """Abort the uploads that an edited status no longer names."""


@dataclass(frozen=True)
class LoseUpload(Action):
    """A worker says that the upload is gone: see for ourselves, then begin a new attempt."""


@dataclass(frozen=True)
class Abort(Action):
    """Abort the upload until the store no longer knows it."""


@dataclass(frozen=True)
class Keep(Action):
    """It has failed, and its upload stays for another try."""


@dataclass(frozen=True)
class Resume(Action):
    """See whether the upload that was kept can be taken up again; begin anew where it cannot."""


@dataclass(frozen=True)
class GiveUpAbort(Action):
    """The abort was tried for long enough: name the upload where people look, and let go."""


def decide(facts: Facts, limits: Limits = Limits()) -> Action:  # noqa: B008 - frozen
    """The next step."""
    status = facts.status
    if facts.resource.deleted_at:
        return _delete(facts, limits)
    live = status.kept or not status.over
    if live and _may_have_upload(facts) and not facts.resource.finalizer:
        # Somebody has taken it away, or edited the status of a copy that had ended.
        message = "making sure of what has to be aborted, should the resource be deleted"
        return AddFinalizer(status.phase, Reason.INSPECTING, message)
    if status.over:
        return _retry(facts) or _rest(facts, limits)
    if status.torn and not status.failing:
        # What it still names may not belong together: nothing of it is gone on with.
        message = "the status was edited, and what is left is not enough; beginning anew"
        return Write(Phase.PENDING, Reason.INSPECTING, message, begun_anew(status))
    if (sound := ledger.sound(status)) != status:
        message = "the status was edited; what of the ledger cannot be read is sent again"
        return Write(_live_phase(facts), Reason.PARTS_DISAGREE, message, sound)
    if facts.strays and not status.failing:
        message = "aborting an upload of ours that the status does not name, or no longer"
        what = Phase.PREPARING, Reason.UPLOAD_LOST, message
        return _clear(facts, *what, limits) or AbortStrays(*what)
    if status.completing and not status.torn:
        return _settle(facts)
    if status.failing:
        return _fail(facts, status.failing, limits)
    if facts.spec.suspend:
        return _suspend(facts)
    if queued := _queue(facts, limits):
        return queued
    if status.resuming:
        return _resume(facts)
    if deadline := _deadline(facts):
        return deadline
    if status.claim is None:
        return _claim(facts)
    if status.plan and status.plan.part_count == 0:
        return CrossCheck(Phase.COMPLETING, Reason.COMPLETING, "writing an object of zero bytes")
    if status.upload is None:
        return CreateUpload(Phase.PREPARING, Reason.CLAIMED, "creating the multipart upload")
    return _copy(facts, limits)


def _queue(facts: Facts, limits: Limits) -> Wait | None:
    """Before the claim, and before it is resumed: neither time is the copy's."""
    ours = seat_of(facts)
    why = None if ours.begun else why_not_yet(ours, facts.others, limits)
    if why is None:
        return None
    phase = _live_phase(facts) if facts.status.claim else Phase.PENDING
    return Wait(phase, Reason.QUEUED_BY_OPERATOR, why, 30.0)


def _claim(facts: Facts) -> Action:
    phase, reason, message = Phase.PENDING, Reason.INSPECTING, "looking at source and destination"
    if not facts.resource.finalizer:
        return AddFinalizer(phase, reason, message)
    return Inspect(phase, reason, message)


def _resume(facts: Facts) -> Action:
    message = "looking whether the upload that was kept can be taken up again"
    what = Phase.PENDING, Reason.INSPECTING, message
    return Resume(*what) if facts.resource.finalizer else AddFinalizer(*what)


def _copy(facts: Facts, limits: Limits) -> Action:
    folded = fold(facts)
    job, pods = facts.run_job(), facts.run_pods()
    permanent = _permanent(facts, limits)
    if permanent:
        return _meet(facts, permanent, limits)
    work = ledger.missing(folded)
    if not work:
        return _finish(facts, folded)
    if job and job.finished and all(pod.finished for pod in pods):
        progressed = any(pod.report and pod.report.parts for pod in pods)
        return EndRun(_phase(facts), *_news(facts, job), progressed)
    if job is None:
        return _start(facts, folded, work, limits)
    if job.deleting:
        what = _doing(facts, "the Job was deleted; waiting for its end")
        return _recorded_first(facts, folded, what, Wait(*what, 2.0))
    return _watch(facts, folded, job, limits)


def _recorded_first(
    facts: Facts, folded: Status, what: tuple[Phase, Reason, str], action: Action
) -> Action:
    """Before a Job is deleted: its pods go with it, and their reports are then in our memory only."""
    return action if folded == facts.status else Write(*what, folded)


def _meet(facts: Facts, permanent: LastFailure, limits: Limits) -> Action:
    """What a worker cannot mend; some of it we can."""
    if permanent.reason == Reason.UPLOAD_LOST:
        return LoseUpload(Phase.COPYING, Reason.UPLOAD_LOST, permanent.message)
    if permanent.reason == Reason.CHECKSUM_REFUSED:
        if fold(facts).batches:  # It has taken others with a checksum: it is not for that.
            return give_up(facts, Reason.REQUEST_REFUSED, permanent.message)
        what = Phase.PREPARING, Reason.CHECKSUM_REFUSED, permanent.message
        return _clear(facts, *what, limits) or DoWithoutChecksum(*what)
    # A refusal for want of permission may be of the source, which the workers read with keys of its own.
    refusals = Reason.SERVER_SIDE_REFUSED, Reason.ACCESS_DENIED
    copies = facts.status.server_side and facts.status.stage is None
    if copies and permanent.reason in refusals:
        if facts.spec.mode is Mode.SERVER_SIDE:
            return give_up(facts, permanent.reason, f"{permanent.message}; {WRITE_AUTO}")
        message = f"{permanent.message}; beginning anew through the workers"
        what = Phase.PREPARING, Reason.SERVER_SIDE_REFUSED, message
        return _clear(facts, *what, limits) or Relay(*what)
    return give_up(facts, permanent.reason, permanent.message)


def _finish(facts: Facts, folded: Status) -> Action:
    """The ledger is full, and what had to be read again has been."""
    if folded != facts.status:
        return Write(*_doing(facts), folded)
    if facts.status.destination_reading:
        message = "every part of the object has been read again"
        return Conclude(Phase.VERIFYING, Reason.VERIFYING, message)
    waiting = _clear(facts, Phase.COMPLETING, Reason.COMPLETING, "waiting for the workers to end")
    return waiting or CrossCheck(
        Phase.COMPLETING, Reason.COMPLETING, "comparing the ledger with the store"
    )


def _start(facts: Facts, folded: Status, work: tuple[Work, ...], limits: Limits) -> Action:
    """The next run, after its back-off. Jobs of other runs go first; their reports are in the ledger."""
    phase, news = _phase(facts), _news(facts, None)
    if folded != facts.status:
        return Write(phase, *news, folded)
    others = tuple(job.name for job in facts.jobs if not job.deleting)
    if others:
        return DeleteJobs(phase, *news, others)
    current = facts.status.attempt, facts.status.run
    if any((job.attempt, job.run) == current for job in facts.jobs):
        return Wait(phase, *news, 2.0)  # It has the name of the one to come.
    not_before = facts.status.retry and facts.status.retry.not_before
    seconds = (parse_time(not_before) - facts.now).total_seconds() if not_before else 0.0
    # Further ahead than any back-off: the clock was set back.
    if 0 < seconds <= limits.retry_seconds[-1]:
        return Wait(phase, *news, max(0.1, seconds))
    if not (pods := pods_for(facts, limits)):
        message = f"all of {limits.max_pods} pods that the operator allows are in use"
        return Wait(phase, Reason.QUEUED_BY_OPERATOR, message, 5.0)
    return StartRun(phase, *news, work, min(facts.spec.parallelism, pods))


def _watch(facts: Facts, folded: Status, job: Job, limits: Limits) -> Action:
    """A run is under way: record what came in, follow the spec, look how far it is."""
    what = _phase(facts), *_news(facts, job)
    stuck = not any(pod.running for pod in facts.pods)
    # It waits, or fails, for what the spec no longer asks for.
    outdated = stuck and job.worker is not None and job.worker != worker_spec(facts.spec)
    # Together its pods would move more, or less, than the spec now allows.
    unshared = job.bytes_per_second != bytes_per_second(facts.spec, facts.status, job.completions)
    if outdated or unshared or _unreplaced(facts):
        return _recorded_first(facts, folded, what, DeleteJobs(*what, (job.name,)))
    wanted = min(facts.spec.parallelism, job.completions, pods_for(facts, limits))
    if wanted != job.parallelism:
        return Scale(*what, job.name, wanted)
    if folded != facts.status and _fails_anew(facts.status, folded):
        return Write(*what, folded)
    assert facts.status.plan is not None
    pages = -(-facts.status.plan.part_count // 1000)
    pause = max(5.0 * pages, 60.0 if facts.status_bytes > _SMALL_STATUS else 0.0)
    running = any(pod.running for pod in facts.pods)
    due = running and facts.status.stage is None and facts.elapsed(facts.listed_at, pause)
    # It records the reports as well, by one write; but not if the store does not answer.
    if due and not facts.trouble:
        return ListParts(*what)
    if folded != facts.status and _may_write(facts) and is_news(facts, folded):
        return Write(*what, folded)
    if facts.queued:
        return Wait(*what, 30.0)
    return ListParts(*what) if due else Wait(*what, 5.0 if running else 3.0)


def _live_phase(facts: Facts) -> Phase:
    """Of a copy under way, whatever somebody has written into its status."""
    if facts.status.failing:
        return Phase.ABORTING
    return _phase(facts) if facts.status.upload else Phase.PREPARING


def _phase(facts: Facts) -> Phase:
    return Phase.COPYING if facts.status.stage is None else Phase.VERIFYING


def _doing(facts: Facts, message: str | None = None) -> tuple[Phase, Reason, str]:
    """What the current run is about."""
    reason = Reason.COPYING if facts.status.stage is None else Reason.VERIFYING
    return _phase(facts), reason, message or _progress(facts)


def _unreplaced(facts: Facts) -> bool:
    """Whether the Job has pods that were deleted, and no other, for longer than it takes to replace them.

    It keeps a failed pod until there is another for its index. A namespace that is being deleted takes no
    new pod, and deletes nothing else until the pods are gone: without this, both would wait for ever.
    """
    current = facts.status.attempt, facts.status.run
    # Those that are still there: one that is remembered says nothing of this Job, if it was made anew.
    pods = [pod for pod in facts.pods if (pod.attempt, pod.run) == current]
    gone = [pod.deleted_at for pod in pods if pod.finished and pod.deleted_at]
    if not gone or any(not pod.finished for pod in pods):
        return False
    return facts.now - max(gone) > timedelta(seconds=_REPLACED_WITHIN)


def _news(facts: Facts, job: Job | None) -> tuple[Reason, str]:
    """What the resource should say of its copying: progress, what it waits for, or what went wrong last."""
    if facts.trouble:
        return facts.trouble
    if facts.queued:
        return _queued(facts)[1:]
    pods = [pod for pod in facts.run_pods() if not pod.finished]
    reason, message = _doing(facts)[1:]
    if any(pod.running for pod in pods):
        return reason, message
    waiting = next((pod.waiting for pod in pods if pod.waiting), None)
    if waiting:
        return waiting
    ended = [pod for pod in facts.run_pods() if pod.terminated]
    latest = max(ended, key=lambda pod: pod.terminated.finished_at, default=None)  # type: ignore[union-attr]
    failed = latest is not None and facts.failure_in(latest) is not None
    between = job is None and facts.status.retry is not None and facts.status.retry.failures > 0
    failure = _last_failure(facts) if not pods and (failed or between) else None
    if failure:
        return reason_of(failure.reason), failure.message
    if job and not pods and facts.refused:
        return facts.refused
    return reason, message


def _queued(facts: Facts) -> tuple[Phase, Reason, str]:
    queue = (facts.spec.worker.labels or {}).get(f"{names.KUEUE}queue-name")
    whom = f"Kueue's queue {queue}" if queue else "whoever has suspended it"
    return _phase(facts), Reason.JOB_SUSPENDED, f"the Job is suspended; waiting for {whom}"


def _progress(facts: Facts) -> str:
    plan, side, reading = facts.status.plan, facts.status.stage, facts.status.reading
    assert plan is not None
    if side and reading:
        read = len(parse_ranges(reading.parts))
        return f"reading the {side} again: {read} of {number_of(plan.part_count, 'part')}"
    what = f"{number_of(plan.part_count, 'part')} of {format_bytes(plan.part_size)}"
    batches = number_of(plan.batch_count, "batch")
    if facts.status.server_side:
        return f"the store copies {what} by itself, in {batches}"
    return f"copying {what} in {batches}"


def fold(facts: Facts) -> Status:
    """The status with everything that finished pods have told: their parts, and the latest failure."""
    reports = [pod.report for pod in (*facts.pods, *facts.gone_pods)]
    status = ledger.fold(facts.status, [report for report in reports if report])
    failure = _last_failure(facts)
    return replace(status, last_failure=failure) if failure else status


def _last_failure(facts: Facts) -> LastFailure | None:
    failures = [f for pod in facts.run_pods() if (f := facts.failure_in(pod))]
    latest = max(failures, key=lambda f: f.time or "", default=None)
    known = facts.status.last_failure
    if latest and known and (latest.time or "") <= (known.time or ""):
        return known
    return latest or known


def _permanent(facts: Facts, limits: Limits) -> LastFailure | None:
    """What a worker of this attempt has met that no repetition can mend, or none has mended."""
    for pod in facts.run_pods():
        report = pod.report
        if report and report.error and ledger.belongs(facts.status, report):
            failure = facts.failure_in(pod)
            if failure and failure.exit_code == names.EXIT_PERMANENT:
                return failure
    retry, failure = facts.status.retry, facts.status.last_failure
    if facts.run_job() or not (retry and failure):
        return None
    if retry.killed >= limits.killed_runs:
        words = f"{retry.killed} times in a row, with no part finished: {failure.message}"
        return replace(failure, message=words)
    return failure if retry.denied >= limits.denied_runs else None


def _fails_anew(before: Status, after: Status) -> bool:
    """A failure of another kind than the last is told at once."""
    known = before.last_failure.reason if before.last_failure else None
    return after.last_failure is not None and after.last_failure.reason != known


def _may_write(facts: Facts) -> bool:
    """Whether enough time has passed to write progress: 5 s, and longer for a large resource."""
    pause = 60.0 if facts.status_bytes > _SMALL_STATUS else max(5.0, facts.status_bytes / 16384)
    return facts.elapsed(facts.written_at, pause)


def is_news(facts: Facts, after: Status) -> bool:
    """Whether progress is worth the write of the whole resource.

    A large one is written for every hundredth of the copy, so that what etcd takes for it does not grow with
    the time that the copy takes. What is not written is in the pods' reports and in the store.
    """
    small = facts.status_bytes <= _SMALL_STATUS
    if small or facts.elapsed(facts.written_at, _LONGEST_UNTOLD):
        return True
    assert after.plan is not None
    more = _recorded(after) - _recorded(facts.status)
    return 100 * more >= after.plan.part_count or _percent(after) > _percent(facts.status)


def _recorded(status: Status) -> int:
    """How many parts are in the ledger, and how many of those have been read again."""
    read = parse_ranges(status.reading.parts) if status.reading else []
    return sum(len(entry.etags) for entry in status.batches.values()) + len(read)


def _percent(status: Status) -> int:
    return status.progress.percent if status.progress else 0


def _settle(facts: Facts) -> Action:
    return Settle(Phase.COMPLETING, Reason.COMPLETING, "making the object visible and checking it")


def _suspend(facts: Facts) -> Action:
    message = "suspended; what has arrived is kept"
    if facts.status.claim is None:
        message = "suspended before it began"
    folded = fold(facts) if facts.status.upload else facts.status
    what = Phase.SUSPENDED, Reason.SUSPENDED, message
    if clear := _clear(facts, *what):
        return _recorded_first(facts, folded, what, clear)
    if folded != facts.status:
        return Write(*what, folded)
    if facts.status.start_time:
        idle = replace(facts.status, start_time=None, retry=None)
        return Write(Phase.SUSPENDED, Reason.SUSPENDED, message, idle)
    return Wait(Phase.SUSPENDED, Reason.SUSPENDED, message, None)


def _deadline(facts: Facts) -> Action | None:
    """``activeDeadlineSeconds`` counts from the claim, and anew from each resumption, of the Job as well.

    So it is with a Job's own: https://kubernetes.io/docs/concepts/workloads/controllers/job/#suspending-a-job
    """
    status, limit = facts.status, facts.spec.active_deadline_seconds
    if status.claim is None and status.start_time is None:
        return None
    if facts.queued:
        idle = replace(status, start_time=None)
        return Write(*_queued(facts), idle) if status.start_time else None
    if status.start_time is None:
        done = status.progress and replace(
            status.progress, bytes_resumed=status.progress.bytes_done
        )
        started = replace(status, start_time=format_time(facts.now), progress=done)
        return Write(_live_phase(facts), Reason.CLAIMED, "resumed", started)
    if limit is None or facts.now - parse_time(status.start_time) < timedelta(seconds=limit):
        return None
    last = f"; the last failure was {status.last_failure.message}" if status.last_failure else ""
    return give_up(facts, Reason.DEADLINE_EXCEEDED, f"not done after {limit} seconds{last}")


def give_up(facts: Facts, reason: str, message: str) -> Write:
    """Record why the copy ends; the steps that follow leave nothing behind and then say ``Failed``."""
    status = fold(facts) if facts.status.upload else facts.status
    if reason == Reason.DESTINATION_CHANGED:
        status = replace(status, destination=None, destination_reading=None)
    if status.destination_reading:
        message += "; the object was completed, and is left unverified"
    failing = Failing(reason, message, format_time(facts.now))
    changes = _source_changes(facts) if reason == Reason.SOURCE_CHANGED else status.source_changes
    status = replace(status, failing=failing, resuming=False, source_changes=changes)
    return Write(Phase.ABORTING, reason_of(reason), message, status)


def _source_changes(facts: Facts) -> SourceChanges | None:
    """With the one that has just been found, if the copy is to begin anew for it; not once its object is there."""
    status, before = facts.status, facts.status.source_changes
    wanted = facts.spec.on_source_change is OnSourceChange.RESTART
    if status.claim is None or status.destination_reading:
        return None
    if not wanted:
        return before
    if before is None:
        return SourceChanges(1, status.claim.destination_etag)
    return replace(before, count=before.count + 1)


def _fail(facts: Facts, failing: Failing, limits: Limits) -> Action:
    """Stop the workers, abort, and only then say Failed: by then nothing is left behind."""
    phase, reason, message = Phase.ABORTING, reason_of(failing.reason), failing.message
    if stopping := _clear(facts, phase, reason, message, limits):
        return stopping
    tired = _tried_enough(facts, parse_time(failing.time), limits)
    if _damaged(facts):
        return _leave_damaged(facts, failing) if tired else Withdraw(phase, reason, message)
    if _keeps(facts, failing) and not (facts.strays and tired):
        return AbortStrays(phase, reason, message) if facts.strays else Keep(phase, reason, message)
    if _may_have_upload(facts):
        if tired:
            return GiveUpAbort(phase, reason, message)
        return Abort(phase, reason, message)
    if facts.status.source_changes and reason is Reason.SOURCE_CHANGED:
        if restart := _restart(facts, facts.status.source_changes, limits):
            return restart
        message += f"; it has changed {facts.status.source_changes.count} times"
    ended = replace(facts.status, claim=None, failing=None, completion_time=format_time(facts.now))
    return Write(Phase.FAILED, reason, message, ended)


def _restart(facts: Facts, changes: SourceChanges, limits: Limits) -> Write | None:
    """Instead of failing: a new pin, plan and claim. What the destination was at first still counts."""
    status, most = facts.status, limits.source_changes
    wanted = facts.spec.on_source_change is OnSourceChange.RESTART
    # One that could not be aborted is a failure, for all to see.
    if not wanted or changes.count > most or status.upload:
        return None
    anew = replace(begun_anew(status), start_time=status.start_time, source_changes=changes)
    message = f"the source has changed; beginning anew, for time {changes.count} of at most {most}"
    return Write(Phase.PENDING, Reason.SOURCE_CHANGED, message, anew)


def begun_anew(status: Status) -> Status:
    """What is left of a status where source and destination are to be looked at once more."""
    return Status(
        attempt=status.attempt,
        last_failure=status.last_failure,
        handled_retry=status.handled_retry,
        worker_memory=status.worker_memory,
    )


def _keeps(facts: Facts, failing: Failing) -> bool:
    """Whether there is an upload that another try could use, and the spec wants it to stay."""
    status = facts.status
    made = status.destination or status.destination_reading
    usable = status.claim and status.upload and not (status.torn or made)
    wanted = facts.spec.on_failure is OnFailure.KEEP and failing.reason not in _USELESS
    return wanted and bool(usable)


def _delete(facts: Facts, limits: Limits) -> Action:
    """As for a failure, but in the end the resource goes."""
    phase, reason, message = Phase.ABORTING, Reason.ABORTING, "deleted; stopping the workers"
    assert facts.resource.deleted_at is not None
    if not facts.resource.finalizer:
        return Wait(phase, reason, message, None, quiet=True)
    if stopping := _clear(facts, phase, reason, message, limits):
        return stopping
    tired = _tried_enough(facts, facts.resource.deleted_at, limits)
    if _damaged(facts) and facts.status.failing:
        what = "deleted; deleting the damaged object"
        return (
            _leave_damaged(facts, facts.status.failing) if tired else Withdraw(phase, reason, what)
        )
    message = "deleted; aborting the multipart upload"
    if _may_have_upload(facts):
        if tired:
            return GiveUpAbort(phase, reason, message)
        return Abort(phase, reason, message)
    return RemoveFinalizer(phase, reason, message)


def _leave_damaged(facts: Facts, failing: Failing) -> Write:
    """It cannot be deleted: say so, and give the abort a time of its own."""
    message = f"{failing.message[:600]}; it could not be deleted: do not use it"
    failing = replace(failing, message=message, time=format_time(facts.now))
    status = replace(facts.status, destination=None, failing=failing)
    return Write(Phase.ABORTING, reason_of(failing.reason), message, status)


def _damaged(facts: Facts) -> bool:
    """Whether an object that we made, and found to be not as it should, has not been seen to be gone."""
    failing = facts.status.failing
    wrong = failing is not None and failing.reason in _WITHDRAWN
    return wrong and facts.status.destination is not None


def _tried_enough(facts: Facts, since: datetime, limits: Limits) -> bool:
    """However long ago it was: not before this very process has tried that long, and failed."""
    if facts.abort_failed_since is None:
        return False
    waited = facts.now - max(since, facts.abort_failed_since)
    return waited > timedelta(seconds=limits.abort_grace_seconds)


def _may_have_upload(facts: Facts) -> bool:
    """From the claim until the end; a copy of zero bytes has none."""
    status = facts.status
    if facts.strays or status.kept:
        return True
    if status.over or status.claim is None:
        return False
    return status.plan is None or status.plan.part_count > 0


def _retry(facts: Facts) -> Write | None:
    """A copy that has failed begins again, once for each value of the annotation."""
    status, asked = facts.status, facts.resource.retry
    if status.phase is not Phase.FAILED or asked in (None, status.handled_retry):
        return None
    again = begun_anew(status)
    if status.kept:
        again = replace(
            status,
            failing=None,
            resuming=True,
            lost_uploads=0,
            source_changes=None,
            retry=None,
            start_time=None,
            completion_time=None,
        )
    again = replace(again, handled_retry=asked)
    return Write(Phase.PENDING, Reason.INSPECTING, "trying again, as was asked for", again)


def _rest(facts: Facts, limits: Limits) -> Action:
    """Terminal: clean up, and after its time to live delete the resource."""
    status = facts.status
    phase, reason, message = status.phase, Reason.COPIED, ""
    if unseen := _unseen_change(facts):
        return unseen
    standing = tuple(job.name for job in facts.jobs if not job.deleting)
    if standing:
        return DeleteJobs(phase, reason, message, standing)
    if facts.resource.finalizer:
        if facts.strays and status.completion_time:
            said = summary(status.conditions)
            words = (reason_of(said.reason), said.message) if said else (reason, message)
            tired = _tried_enough(facts, parse_time(status.completion_time), limits)
            return GiveUpAbort(phase, *words) if tired else AbortStrays(phase, *words)
        if not (status.kept and status.failing):
            return RemoveFinalizer(phase, reason, message)
        if facts.spec.on_failure is OnFailure.ABORT:
            return Abort(phase, reason_of(status.failing.reason), status.failing.message)
    ttl = facts.spec.ttl_seconds_after_finished
    if ttl is None or status.completion_time is None:
        return Wait(phase, reason, message, None, quiet=True)
    left = (parse_time(status.completion_time) - facts.now).total_seconds() + ttl
    if left > 0:
        return Wait(phase, reason, message, left, quiet=True)
    return DeleteResource(phase, reason, message)


def _unseen_change(facts: Facts) -> Write | None:
    """A change of the spec that comes too late to matter. It is acknowledged all the same: of a condition of an
    older generation `kubectl wait` and kstatus believe nothing, and would wait for ever.
    """
    status, generation = facts.status, facts.resource.generation
    seen = {status.observed_generation, *(c.observed_generation for c in status.conditions)}
    said = summary(status.conditions)
    if said is None or seen == {generation}:
        return None
    return Write(status.phase, reason_of(said.reason), said.message, status)


def _clear(
    facts: Facts, phase: Phase, reason: Reason, message: str, limits: Limits | None = None
) -> Action | None:
    """Delete the Jobs that could still start a pod and wait for every pod's end; None when that is so.

    With ``limits``, a pod deleted longer ago than its grace is not waited for: its node may be cut
    off. That is good enough for an abort, which is repeated until the upload is gone, and never for
    a completion.
    """
    # A finished Job would keep a pod whose end nobody has seen; without the Job the pod goes as well.
    unseen = any(pod.finished and not pod.stopped for pod in facts.pods)
    standing = tuple(
        job.name for job in facts.jobs if not job.deleting and (unseen or not job.finished)
    )
    if standing:
        return DeleteJobs(phase, reason, message, standing)

    def holds(deleted_at: datetime | None) -> bool:
        if limits is None or deleted_at is None:
            return True
        return facts.now - deleted_at < timedelta(seconds=limits.pod_grace_seconds)

    if any(holds(pod.deleted_at) for pod in facts.pods if not pod.stopped):
        return Wait(phase, reason, message, 2.0)
    return None
