"""What whoever is on call asks of the operator, as Prometheus metrics; the help of each is the question.

https://prometheus.io/docs/practices/naming/. Labels are words of ours, so that the series are few; only an
upload that was left behind has a series of its own.
"""

from threading import Lock
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)

from multipartcopy.api.reasons import Reason
from multipartcopy.api.spec import S3Location
from multipartcopy.api.status import Phase
from multipartcopy.s3.address import endpoint_url

# They would be a second series for each counter, which answers nobody.
disable_created_metrics()  # type: ignore[no-untyped-call]

_MOST_LEFT_BEHIND = 1000
"""Series; beyond, the oldest goes. Its log line and Events named it too."""


class ListenError(Exception):
    """The address is taken, or is none of this machine."""


class Metrics:
    """Of one operator, since its start. May be called from any thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._under_way = Gauge(
            "multipartcopy_copies_under_way",
            "How many copies are worked on now, and how far are they?",
            ["phase"],
            registry=self.registry,
        )
        self._finished = Counter(
            "multipartcopy_copies_finished_total",
            "Do copies succeed, and why do they not? By the reason of the final condition.",
            ["phase", "reason"],
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
        for phase in Phase:
            self._under_way.labels(phase)
        self._finished.labels(Phase.SUCCEEDED, Reason.COPIED)
        self._phases: dict[str, Phase] = {}
        self._left: dict[tuple[str, ...], None] = {}
        self._lock = Lock()

    def under_way(self, uid: str, phase: Phase | None) -> None:
        """The resource is worked on and says ``phase``; None when the work on it ends or pauses."""
        with self._lock:
            before = self._phases.get(uid)
            if phase is before:
                return
            if before:
                del self._phases[uid]
                self._under_way.labels(before).dec()
            if phase:
                self._phases[uid] = phase
                self._under_way.labels(phase).inc()

    def wrote(self, before: Phase, phase: Phase, reason: Reason) -> None:
        """A status was written; a copy that it ends is counted."""
        if phase is not before and phase in (Phase.SUCCEEDED, Phase.FAILED):
            self._finished.labels(phase, reason).inc()

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

    def serve(self, address: str, port: int) -> WSGIServer:
        """Answer scrapes, at every path, in threads that end with the process. Raises ListenError."""
        try:
            server, _ = start_http_server(port, address, self.registry)
        except OSError as error:
            message = f"no metrics at {address}:{port}: {error.strerror}"
            raise ListenError(message) from None
        return server
