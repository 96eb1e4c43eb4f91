"""What whoever is on call asks of the operator, as Prometheus metrics; the help of each is the question.

https://prometheus.io/docs/practices/naming/. Labels are words of ours, or few by nature, so that the series are
few; only an upload that was left behind has a series of its own. ``docs/metrics.md`` explains each.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from enum import StrEnum
from threading import Lock
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)

from multipartcopy.api.location import S3Location
from multipartcopy.api.reasons import Reason
from multipartcopy.api.status import Phase, Status
from multipartcopy.s3.address import endpoint_url

# They would be a second series for each counter, which answers nobody.
disable_created_metrics()  # type: ignore[no-untyped-call]

_MOST_LEFT_BEHIND = 1000
"""Series; beyond, the oldest goes. Its log line and Events named it too."""


_DURATIONS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)
"""Seconds; a pass asks the API server and the stores, and one that completes an upload may take minutes."""


_POD_STATES = ("running", "waiting")
_TROUBLES = tuple(Reason)[tuple(Reason).index(Reason.ACCESS_DENIED) :]
"""What a copy can fail of, and be retried for, in the order of the reasons."""


class PassError(StrEnum):
    """Why a pass over a resource ended before it had anything to wait for."""

    CONFLICT = "conflict"
    """Somebody else wrote the status meanwhile; looked at again at once."""
    KUBERNETES = "kubernetes"
    """The API server refused, or did not answer."""
    DEFECT = "defect"
    """Of ours: its log line is a traceback."""


class ListenError(Exception):
    """The address is taken, or is none of this machine."""


class Metrics:
    """Of one operator, since its start. May be called from any thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._under_way = Gauge(
            "multipartcopy_copies_under_way",
            "How many copies are worked on now, how far are they, and what do they say of themselves?",
            ["phase", "reason"],
            registry=self.registry,
        )
        self._finished = Counter(
            "multipartcopy_copies_finished_total",
            "Do copies succeed, and why do they not? By the reason of the final condition.",
            ["phase", "reason"],
            registry=self.registry,
        )
        self._parts = Counter(
            "multipartcopy_copied_parts_total",
            "How fast are parts recorded as stored? Those that had to be sent again count again.",
            registry=self.registry,
        )
        self._bytes = Counter(
            "multipartcopy_copied_bytes_total",
            "How fast are bytes recorded as stored? Those that had to be sent again count again.",
            registry=self.registry,
        )
        self._retries = Counter(
            "multipartcopy_retries_total",
            "Is work done again, and why? Workers' pods that failed, parts that disagree, uploads that were lost.",
            ["reason"],
            registry=self.registry,
        )
        self._aborted = Counter(
            "multipartcopy_uploads_aborted_total",
            "How many multipart uploads were aborted, and are seen to be gone?",
            registry=self.registry,
        )
        self._pods = Gauge(
            "multipartcopy_worker_pods",
            "How many pods of workers run now, and how many wait to?",
            ["state"],
            registry=self.registry,
        )
        self._reconcile = Histogram(
            "multipartcopy_reconcile_duration_seconds",
            "How long does a pass over one resource take, its wait for a thread included?",
            buckets=_DURATIONS,
            registry=self.registry,
        )
        self._reconcile_errors = Counter(
            "multipartcopy_reconcile_errors_total",
            "Do passes fail: for a conflict, for Kubernetes, or for a defect of ours?",
            ["error"],
            registry=self.registry,
        )
        self._requests = Counter(
            "multipartcopy_s3_requests_total",
            "What does the operator ask of the stores, and what do they answer? Not what the workers ask."
            " By HTTP status; none where there was no answer.",
            ["operation", "code"],
            registry=self.registry,
        )
        self._store_errors = Counter(
            "multipartcopy_store_errors_total",
            "Is a store in trouble, and how? Steps of the operator that its store's answer has stopped.",
            ["side", "reason"],
            registry=self.registry,
        )
        self._left_behind = Gauge(
            "multipartcopy_upload_left_behind",
            "Which multipart uploads are to be aborted by hand? 1 until the operator restarts."
            " One of owner unknown may be somebody else's: ask first.",
            ["namespace", "name", "endpoint", "bucket", "key", "upload_id", "owner"],
            registry=self.registry,
        )
        self._kept = Gauge(
            "multipartcopy_uploads_kept",
            "How many uploads of failed copies wait for another try, at what their stores charge for their parts?",
            registry=self.registry,
        )
        # 0 is told from the start: an increase from nothing to 1 is none to Prometheus.
        self._finished.labels(Phase.SUCCEEDED, Reason.COPIED)
        for reason in _TROUBLES:
            self._finished.labels(Phase.FAILED, reason)
            self._retries.labels(reason)
        for error in PassError:
            self._reconcile_errors.labels(error)
        for state in _POD_STATES:
            self._pods.labels(state)
        self._said: dict[str, tuple[Phase, Reason]] = {}
        self._pods_of: dict[str, Mapping[str, int]] = {}
        self._left: dict[tuple[str, ...], None] = {}
        self._keeping: set[str] = set()
        self._lock = Lock()

    def under_way(self, uid: str, said: tuple[Phase, Reason] | None) -> None:
        """The resource is worked on and says this of itself; None when the work on it ends or pauses."""
        with self._lock:
            before = self._said.pop(uid, None)
            if said:
                self._said[uid] = said
            if said == before:
                return
            if before:
                self._under_way.labels(*before).dec()
            if said:
                self._under_way.labels(*said).inc()

    def pods(self, uid: str, *, running: int, waiting: int) -> None:
        """Of the workers of one resource, as last seen."""
        now = {"running": running, "waiting": waiting}
        with self._lock:
            before = self._pods_of.pop(uid, {})
            if running or waiting:
                self._pods_of[uid] = now
            for state in _POD_STATES:
                self._pods.labels(state).inc(now[state] - before.get(state, 0))

    def wrote(self, before: Status, after: Status, phase: Phase, reason: Reason) -> None:
        """A status was written: what the ledger has gained, what is done again, and a copy that has ended."""
        if after.batches:
            (parts, size), (new_parts, new_size) = _recorded(before), _recorded(after)
            self._parts.inc(max(0, new_parts - parts))
            self._bytes.inc(max(0, new_size - size))
        if before.upload and after.attempt > before.attempt:
            self.retried(reason)
        if before.failing and before.phase is Phase.ABORTING and phase is Phase.PENDING:
            self.retried(reason)
        if after.disagreements > before.disagreements:
            self.retried(Reason.PARTS_DISAGREE)
        if phase is not before.phase and phase in (Phase.SUCCEEDED, Phase.FAILED):
            self._finished.labels(phase, reason).inc()

    def retried(self, reason: Reason) -> None:
        self._retries.labels(reason).inc()

    def aborted(self) -> None:
        self._aborted.inc()

    def reconciling(self) -> AbstractContextManager[object]:
        """A pass takes as long as this is entered."""
        return self._reconcile.time()

    def reconcile_failed(self, error: PassError) -> None:
        self._reconcile_errors.labels(error).inc()

    def s3_request(self, operation: str, code: int | None) -> None:
        """``code`` is the HTTP status; None where none came."""
        self._requests.labels(operation, code or "none").inc()

    def store_error(self, side: str, reason: Reason) -> None:
        self._store_errors.labels(side, reason).inc()

    def left_behind(
        self, namespace: str, name: str, location: S3Location, upload_id: str, *, ours: bool
    ) -> None:
        """The operator has let go of an upload; to say so again changes nothing."""
        place = endpoint_url(location), location.bucket, location.key
        labels = (namespace, name, *place, upload_id, "ours" if ours else "unknown")
        with self._lock:
            self._left[labels] = None
            self._left_behind.labels(*labels).set(1)
            if len(self._left) > _MOST_LEFT_BEHIND:
                oldest = next(iter(self._left))
                del self._left[oldest]
                self._left_behind.remove(*oldest)

    def kept(self, uid: str, upload: bool) -> None:
        """Whether the resource has failed and keeps its upload, as last seen."""
        with self._lock:
            (self._keeping.add if upload else self._keeping.discard)(uid)
            self._kept.set(len(self._keeping))

    def serve(self, address: str, port: int) -> WSGIServer:
        """Answer scrapes, at every path, in threads that end with the process. Raises ListenError."""
        try:
            server, _ = start_http_server(port, address, self.registry)
        except OSError as error:
            message = f"no metrics at {address}:{port}: {error.strerror}"
            raise ListenError(message) from None
        return server


def _recorded(status: Status) -> tuple[int, int]:
    """Parts and bytes of the ledger."""
    entries = status.batches.values()
    return sum(len(entry.etags) for entry in entries), sum(entry.bytes for entry in entries)
