"""How many parts a pod moves at the same time: AIMD, as TCP finds its window (RFC 5681)."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from multipartcopy.api.reasons import Reason
from multipartcopy.worker.errors import Failure, Side

_LOOK = 0.5
"""Seconds after which a stream that waits sees that the pod is to stop."""
_WORTHWHILE = 0.5
"""What one more stream must bring, of what a stream has brought on average."""


class Window:
    """So many streams: ``most`` at first, never more, never less than 1. Pure arithmetic."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.decreases = 0
        self._size = float(most)

    @property
    def streams(self) -> int:
        return int(self._size)

    def shrink(self, begun: int) -> None:
        """A try was throttled that began when there had been ``begun`` decreases.

        Those that had begun before the last decrease say nothing of what it has brought.
        """
        if begun == self.decreases:
            self._size = max(1.0, self._size / 2)
            self.decreases += 1

    def grow(self) -> None:
        """A part is done: one stream more for each round of them."""
        self._size = min(float(self.most), self._size + 1 / self._size)


class Growth:
    """``streams: Auto``: the most of a window rises with each round of parts, while it pays.

    A round is as many parts as there are streams, with the window open. It has paid if its rate is
    at least what the streams before had and half of the share that one more should bring.
    """

    def __init__(self, window: Window, most: int, now: float) -> None:
        self._window = window
        self._most = most
        self._wanted = 0.0
        self._restart(now)

    def moved(self, length: int, now: float) -> None:
        """A part of ``length`` bytes is done."""
        self._parts += 1
        self._bytes += length
        streams = self._window.streams
        if self._parts < streams:
            return
        rate = self._bytes / max(now - self._since, 1e-9)
        open_ = streams == self._window.most
        if open_ and streams < self._most and rate >= self._wanted:
            self._wanted = rate * (1 + _WORTHWHILE / streams)
            self._window.most += 1
        self._restart(now)

    def _restart(self, now: float) -> None:
        self._parts, self._bytes, self._since = 0, 0, now


class Pace:
    """What the streams of a pod keep to: the window, and the pauses that stores ask for.

    Every part needs both stores, so there is one window for both.
    """

    def __init__(
        self,
        window: Window,
        stop: threading.Event,
        growth: Growth | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._window = window
        self._growth = growth
        self._stop = stop
        self._clock = clock
        self._running = 0
        self._not_before: dict[Side | None, float] = {}
        self._starved_since: float | None = None
        self._changed = threading.Condition()

    @property
    def streams(self) -> int:
        return self._window.streams

    def starved(self) -> float:
        """Seconds for which every try of the pod that has ended was throttled, or failed."""
        with self._changed:
            since = self._starved_since
            return 0.0 if since is None else self._clock() - since

    @contextmanager
    def turn(self, length: int = 0) -> Iterator[None]:
        """A try at ``length`` bytes of a part: waits until it may begin, learns from how it ends.

        Raises Failure where the pod is stopped meanwhile.
        """
        begun = self._begin()
        try:
            yield
        except Failure as failure:
            with self._changed:
                self._learn(failure, begun)
            raise
        else:
            with self._changed:
                self._starved_since = None
                self._window.grow()
                if length and self._growth:
                    self._growth.moved(length, self._clock())
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def wait(self, side: Side) -> None:
        """Until this store may be asked again. Raises Failure where the pod is stopped meanwhile."""
        with self._changed:
            while (pause := self._not_before.get(side, 0.0) - self._clock()) > 0:
                self._wait(pause)

    def _begin(self) -> int:
        """Returns how many decreases there had been."""
        with self._changed:
            while True:
                pause = max(self._not_before.values(), default=0.0) - self._clock()
                if pause <= 0 and self._running < self._window.streams:
                    self._running += 1
                    return self._window.decreases
                self._wait(pause if pause > 0 else _LOOK)

    def _wait(self, seconds: float) -> None:
        if self._stop.is_set():
            raise Failure(Reason.WORKER_TERMINATED, "stopped before a part was begun")
        self._changed.wait(min(seconds, _LOOK))

    def _learn(self, failure: Failure, begun: int) -> None:
        now = self._clock()
        if failure.retry_after:
            until = max(self._not_before.get(failure.side, 0.0), now + failure.retry_after)
            self._not_before[failure.side] = until
        if failure.throttled:
            self._window.shrink(begun)
            if self._starved_since is None:
                self._starved_since = now
