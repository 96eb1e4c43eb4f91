"""What one pass has observed of the cluster, as values that ``decide`` can reason about."""

import functools
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from multipartcopy.api import names
from multipartcopy.api.codec import from_json
from multipartcopy.api.quantity import format_bytes, parse_bytes
from multipartcopy.api.ranges import parse_ranges
from multipartcopy.api.reasons import Reason
from multipartcopy.api.report import Report, decode_report
from multipartcopy.api.spec import Spec
from multipartcopy.api.status import LastFailure, Status
from multipartcopy.jobs import CONTAINER, Owner

LOST = -1
"""Exit code of a pod that ended without a container's state: evicted before it ran, or its node is gone."""

_RETRY_LIMIT = 256
"""Of what is asked to try again by; as in the definition of ``status.handledRetry``."""


@dataclass(frozen=True)
class Terminated:
    """The end of a worker's container. ``reason`` is the kubelet's, e.g. ``OOMKilled``."""

    exit_code: int
    reason: str
    message: str
    finished_at: str


@dataclass(frozen=True)
class Pod:
    name: str
    uid: str
    attempt: int
    run: int
    running: bool = False
    terminated: Terminated | None = None
    waiting: tuple[Reason, str] | None = None
    """Why it does not start, as soon as the cluster says so."""
    deleted_at: datetime | None = None
    disrupted: str | None = None
    memory_limit: str | None = None
    job: str = ""
    """The UID of its Job: one that is made anew has the name and the run of the one before."""

    @property
    def finished(self) -> bool:
        return self.terminated is not None

    @property
    def stopped(self) -> bool:
        """Its kubelet has seen the container end, or never let it begin: it sends nothing any more.

        A pod that others have declared finished, since its node is lost, may still run; those are
        marked as disrupted or deleted.
        """
        if self.terminated is None:
            return False
        marked = self.disrupted is not None or self.deleted_at is not None
        return self.terminated.exit_code != LOST or not marked

    @property
    def memory_bytes(self) -> int | None:
        """Its memory limit; None where whoever changed it has written it in a way of their own."""
        with suppress(ValueError):
            return parse_bytes(self.memory_limit or "")
        return None

    @functools.cached_property
    def report(self) -> Report | None:
        return decode_report(self.terminated.message) if self.terminated else None


@dataclass(frozen=True)
class Job:
    name: str
    uid: str
    attempt: int
    run: int
    finished: bool = False
    deleting: bool = False
    suspended: bool = False
    """It may have no pods, until who has suspended it lets it go on: a queue, mostly."""
    parallelism: int = 1
    completions: int = 1
    left: int = 1
    """Batches that are not done, nor given up in this run."""
    worker: str | None = None
    """The ``spec.worker`` that it was made for."""
    bytes_per_second: int = 0
    """What each of its pods may move; 0: any number, -1: somebody has edited it."""
    upload: str | None = None
    """The upload ID that its workers send to."""


@dataclass(frozen=True)
class Resource:
    """The MultipartCopy itself."""

    owner: Owner
    generation: int
    resource_version: str
    spec: Spec
    status: Status
    created: datetime
    deleted_at: datetime | None = None
    finalizer: bool = False
    retry: str | None = None
    """What the annotation that asks to try again says."""
    stored_status: Mapping[str, Any] = field(default_factory=dict)
    """As it is stored: what a write is the difference to."""

    def without_ledger(self) -> "Resource":
        """To be kept: of the status what is not a matter of parts, of which there may be megabytes."""
        bare = replace(self.status, batches={}, source_reading=None, destination_reading=None)
        return replace(self, status=bare, stored_status={})


@dataclass(frozen=True)
class Seat:
    """What of a copy matters to the others. ``wants`` and ``holds`` count pods."""

    uid: str
    created: datetime
    begun: bool
    ready: bool
    """It could begin, if it were let."""
    wants: int
    holds: int = 0

    @property
    def order(self) -> tuple[bool, datetime, str]:
        return not self.begun, self.created, self.uid


@dataclass(frozen=True)
class Facts:
    """Everything that ``decide`` may look at. ``now`` is the operator's clock, UTC."""

    now: datetime
    resource: Resource
    jobs: tuple[Job, ...] = ()
    pods: tuple[Pod, ...] = ()
    """From a fresh LIST: the fence relies on it."""
    gone_pods: tuple[Pod, ...] = ()
    """Finished pods that the watch has shown and the LIST no longer holds: good for their reports."""
    refused: tuple[Reason, str] | None = None
    """Why the API server lets the Job make no pods."""
    trouble: tuple[Reason, str] | None = None
    """Why the last effect on a store could not be done, until one is."""
    abort_failed_since: datetime | None = None
    """Since when this process tries in vain to take away what it has made."""
    listed_at: datetime | None = None
    """When the upload's parts were last listed; None in a new process."""
    written_at: datetime | None = None
    """When the status was last written; None in a new process."""
    status_bytes: int = 0
    strays: tuple[str, ...] = ()
    """Uploads of ours, not known to be gone, that the status does not name: it was edited."""
    others: tuple[Seat, ...] = ()
    """The other copies, where the operator limits how many are under way at the same time."""

    @property
    def status(self) -> Status:
        return self.resource.status

    @property
    def spec(self) -> Spec:
        return self.resource.spec

    def run_pods(self) -> list[Pod]:
        """The pods of the current run, those already gone included."""
        return [
            pod
            for pod in (*self.pods, *self.gone_pods)
            if (pod.attempt, pod.run) == (self.status.attempt, self.status.run)
        ]

    def run_job(self) -> Job | None:
        upload = self.status.upload.id if self.status.upload else None
        current = (self.status.attempt, self.status.run, upload)
        return next(
            (job for job in self.jobs if (job.attempt, job.run, job.upload) == current), None
        )

    def failure_in(self, pod: Pod) -> LastFailure | None:
        """What the pod has failed of, if it has; to be stopped with its Job is no failure.

        So its workers end where a copy is suspended, or needs them no more.
        """
        failure, job = failure_of(pod), self.run_job()
        standing = job is not None and pod.job == job.uid and not job.deleting
        if failure and failure.reason == Reason.WORKER_TERMINATED and not standing:
            return None
        return failure

    @property
    def queued(self) -> bool:
        """Whether the run's Job is suspended: what it waits for is not the copy's time."""
        job = self.run_job()
        held = job is not None and job.suspended and not (job.finished or job.deleting)
        return held and not any(pod.running for pod in self.pods)

    def elapsed(self, since: datetime | None, seconds: float) -> bool:
        """Whether ``seconds`` have passed; also where ``since`` lies ahead, because a clock was set back."""
        return since is None or not timedelta(0) <= self.now - since < timedelta(seconds=seconds)


@dataclass(frozen=True)
class Limits:
    """Of patience, and of what goes on at the same time (0: any number). The operator's flags set some of them."""

    max_active_copies: int = 0
    max_pods: int = 0
    attempts: int = 3
    """Of which the upload was lost."""
    source_changes: int = 3
    """After which a copy that may begins anew."""
    disagreements: int = 3
    denied_runs: int = 5
    killed_runs: int = 8
    """In a row, of workers that are killed at one memory limit: five minutes with the pauses in between."""
    denied_grace_seconds: float = 300
    """How long a refusal by the store is taken for a Secret that is about to be mended."""
    unseen_seconds: float = 300
    """How long a store may not show the object that it says it has completed, before somebody has removed it."""
    abort_grace_seconds: float = 1800
    """How long an abort is tried before the upload is named and left."""
    pod_grace_seconds: float = 60
    """How long after its deletion a pod may hold up an abort: its node may be cut off for ever."""
    retry_seconds: tuple[float, ...] = field(default=(2, 5, 10, 20, 40, 80, 160, 300))
    """Before the next run, by the number of runs in a row that recorded nothing new."""


def read_resource(body: Mapping[str, Any]) -> Resource:
    meta = body["metadata"]
    return Resource(
        owner=Owner(meta["name"], meta["namespace"], meta["uid"]),
        generation=meta["generation"],
        resource_version=meta["resourceVersion"],
        spec=from_json(Spec, body["spec"]),
        status=from_json(Status, body.get("status", {})),
        created=parse_time(meta["creationTimestamp"]),
        deleted_at=optional_time(meta.get("deletionTimestamp")),
        finalizer=names.FINALIZER in meta.get("finalizers", []),
        retry=meta.get("annotations", {}).get(names.ANNOTATION_RETRY, "")[:_RETRY_LIMIT] or None,
        stored_status=body.get("status", {}),
    )


def read_job(body: Mapping[str, Any]) -> Job:
    meta, spec, status = body["metadata"], body["spec"], body.get("status", {})
    conditions = {c["type"] for c in status.get("conditions", []) if c["status"] == "True"}
    completions = spec.get("completions", 1)
    given_up = len(parse_ranges(status.get("failedIndexes", "")))
    annotations = meta.get("annotations", {})
    rate = annotations.get(names.ANNOTATION_BYTES_PER_SECOND, "0")
    return Job(
        name=meta["name"],
        uid=meta["uid"],
        attempt=_label(meta, names.LABEL_ATTEMPT),
        run=_label(meta, names.LABEL_RUN),
        finished=bool(conditions & {"Complete", "Failed"}),
        deleting="deletionTimestamp" in meta,
        suspended=spec.get("suspend", False),
        parallelism=spec.get("parallelism", 1),
        completions=completions,
        left=max(0, completions - status.get("succeeded", 0) - given_up),
        worker=annotations.get(names.ANNOTATION_WORKER),
        bytes_per_second=int(rate) if rate.isdecimal() else -1,
        upload=annotations.get(names.ANNOTATION_UPLOAD),
    )


def read_pod(body: Mapping[str, Any]) -> Pod:
    meta, status = body["metadata"], body.get("status", {})
    state = _workers(status.get("containerStatuses", [])).get("state", {})
    conditions = {c["type"]: c for c in status.get("conditions", [])}
    disruption = conditions.get("DisruptionTarget", {})
    limits = _workers(body["spec"]["containers"]).get("resources", {}).get("limits", {})
    return Pod(
        name=meta["name"],
        uid=meta["uid"],
        attempt=_label(meta, names.LABEL_ATTEMPT),
        run=_label(meta, names.LABEL_RUN),
        running="running" in state,
        terminated=_terminated(state, status),
        waiting=_waiting(state, conditions),
        deleted_at=optional_time(meta.get("deletionTimestamp")),
        disrupted=disruption.get("message") if disruption.get("status") == "True" else None,
        memory_limit=limits.get("memory"),
        job=next((owner["uid"] for owner in meta.get("ownerReferences", [])), ""),
    )


def _workers(containers: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The one that is ours: others may have been added by an admission webhook, and come in any order."""
    return next((c for c in containers if c["name"] == CONTAINER), {})


def _terminated(state: Mapping[str, Any], status: Mapping[str, Any]) -> Terminated | None:
    ended = state.get("terminated")
    if ended:
        return Terminated(
            ended["exitCode"],
            ended.get("reason", ""),
            ended.get("message", ""),
            ended.get("finishedAt") or "",
        )
    if status.get("phase") in ("Succeeded", "Failed"):
        return Terminated(LOST, status.get("reason", "Lost"), status.get("message", ""), "")
    return None


_WAITING = {
    "ErrImagePull": Reason.IMAGE_PULL_FAILED,
    "ImagePullBackOff": Reason.IMAGE_PULL_FAILED,
    "InvalidImageName": Reason.IMAGE_PULL_FAILED,
    "ErrImageNeverPull": Reason.IMAGE_PULL_FAILED,
    "ContainerCreating": None,
    "PodInitializing": None,
}


def _waiting(
    state: Mapping[str, Any], conditions: Mapping[str, Mapping[str, Any]]
) -> tuple[Reason, str] | None:
    waiting = state.get("waiting")
    if waiting:
        reason = _WAITING.get(waiting.get("reason", ""), Reason.POD_NOT_STARTING)
        message = waiting.get("message") or waiting.get("reason", "")
        return (reason, message) if reason else None
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return Reason.UNSCHEDULABLE, scheduled.get("message") or scheduled.get("reason", "")
    return None


def refusal(events: Iterable[Mapping[str, Any]]) -> tuple[Reason, str] | None:
    """From the Job's Warning Events: why its pods were refused, the newest word of it."""
    refused = [event for event in events if event.get("reason") == "FailedCreate"]
    if not refused:
        return None
    message = max(refused, key=_event_time).get("message", "")
    reason = Reason.QUOTA_EXCEEDED if "exceeded quota" in message else Reason.POD_REFUSED
    return reason, message


def _event_time(event: Mapping[str, Any]) -> str:
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or ""
    )


def failure_of(pod: Pod) -> LastFailure | None:
    """What a failed pod says of its end; None for one that has not failed."""
    end, report = pod.terminated, pod.report
    if end is None or (end.exit_code == 0 and report):
        return None
    when = end.finished_at or None
    if end.exit_code == 0:
        message = f"worker pod {pod.name} ended well but left no readable report"
        return LastFailure(Reason.REPORT_LOST, message, exit_code=0, time=when)
    batch = report.batch if report else None
    if end.reason == "OOMKilled":
        message = (
            f"{out_of_memory(pod)}; raise spec.worker.resources.limits.memory or"
            " spec.worker.maxMemory, or lower spec.worker.streams"
        )
        return LastFailure(Reason.OOM_KILLED, message, batch, None, end.exit_code, when)
    if report and report.error:
        error = report.error
        return LastFailure(error.code, error.message, batch, error.part, end.exit_code, when)
    reason = Reason.WORKER_TERMINATED if pod.disrupted or pod.deleted_at else Reason.WORKER_FAILED
    words = pod.disrupted or (end.message if report is None else "") or end.reason
    message = f"worker pod {pod.name} ended with status {end.exit_code}: {words}"[:400]
    return LastFailure(reason, message, batch, None, end.exit_code, when)


def out_of_memory(pod: Pod) -> str:
    """What is known of one that was killed at its memory limit."""
    limit = f" of {pod.memory_limit}" if pod.memory_limit else ""
    peak = pod.report.peak_rss if pod.report else 0
    used = f"; it had used {format_bytes(peak)} when it last reported" if peak else ""
    return f"a worker pod was killed at its memory limit{limit}{used}"


def _label(meta: Mapping[str, Any], label: str) -> int:
    """A number of ours; -1 where somebody has edited it away."""
    text = meta.get("labels", {}).get(label, "")
    return int(text) if text.isdecimal() else -1


def parse_time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def optional_time(text: str | None) -> datetime | None:
    return parse_time(text) if text else None


def format_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
