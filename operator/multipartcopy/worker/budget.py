"""A pod's share of ``spec.bandwidthLimit``: a token bucket (https://en.wikipedia.org/wiki/Token_bucket)."""

import threading
import time
from collections.abc import Callable

from multipartcopy.api.reasons import Reason
from multipartcopy.worker.errors import Failure


class Budget:
    """So many bytes a second for all streams of a pod together, in the order in which they ask.

    Nothing is saved up: who asks after a silence may go on at once, and is waited for afterwards.
    """

    def __init__(
        self, rate: int, stop: threading.Event, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``rate`` in bytes per second."""
        self._rate = rate
        self._stop = stop
        self._clock = clock
        self._free = clock()
        self._lock = threading.Lock()

    def take(self, count: int) -> None:
        """Wait until ``count`` bytes may be moved. Raises Failure where the pod is stopped meanwhile."""
        seconds = self._reserve(count)
        if seconds > 0 and self._stop.wait(seconds):
            raise Failure(Reason.WORKER_TERMINATED, "stopped in the middle of a part")

    def _reserve(self, count: int) -> float:
        """Seconds until then."""
        with self._lock:
            now = self._clock()
            start = max(self._free, now)
            self._free = start + count / self._rate
            return start - now
