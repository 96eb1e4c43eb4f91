"""How many streams may run, and when they may ask again."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multipartcopy.api.reasons import Reason
from multipartcopy.worker.errors import Failure, Side
from multipartcopy.worker.pace import Growth, Pace, Window

MiB = 1 << 20


def slow_down(side: Side = Side.DESTINATION, retry_after: float = 0) -> Failure:
    return Failure(
        Reason.DESTINATION_UNAVAILABLE, "503", throttled=True, retry_after=retry_after, side=side
    )


def test_a_throttled_window_halves_and_grows_by_one_a_round() -> None:
    window = Window(8)
    sizes = [window.streams]
    for _ in range(4):
        window.shrink(window.decreases)
        sizes.append(window.streams)
    assert sizes == [8, 4, 2, 1, 1]
    for _ in range(40):
        window.grow()
        sizes.append(window.streams)
    assert sizes[5:15] == [2, 2, 2, 3, 3, 3, 4, 4, 4, 4]
    assert sizes[-1] == 8


def test_what_had_begun_before_a_decrease_brings_no_other() -> None:
    window = Window(16)
    for _ in range(16):
        window.shrink(0)
    assert (window.streams, window.decreases) == (8, 1)
    window.shrink(1)
    assert window.streams == 4


@given(st.integers(1, 16), st.lists(st.integers(0, 40)))
def test_a_window_keeps_within_its_bounds(most: int, events: list[int]) -> None:
    """0 grows; n throttles a try begun when there had been n - 1 decreases."""
    window = Window(most)
    for event in events:
        before = window.streams
        if event:
            window.shrink(event - 1)
            assert before // 2 <= window.streams <= before
        else:
            window.grow()
            assert before <= window.streams <= before + 1
        assert 1 <= window.streams <= most


@given(st.integers(1, 16), st.integers(0, 10))
def test_it_comes_back(most: int, throttles: int) -> None:
    window = Window(most)
    for _ in range(throttles):
        window.shrink(window.decreases)
    for _ in range(most * most):
        window.grow()
    assert window.streams == most


def moved(streams: int, capacity: float, parts: int, most: int = 16) -> Window:
    """After so many parts of 1 MiB, each stream bringing 1 MiB/s, up to ``capacity`` MiB/s in all."""
    window = Window(streams)
    growth = Growth(window, most, 0.0)
    now = 0.0
    for _ in range(parts):
        now += 1 / min(window.streams, capacity)
        window.grow()
        growth.moved(MiB, now)
    return window


@pytest.mark.parametrize(
    ("capacity", "most", "found"),
    [(1000.0, 16, 16), (1000.0, 6, 6), (8.0, 16, 9), (1.0, 16, 5), (1000.0, 4, 4)],
    ids=["as many as may be", "as the memory allows", "as pay, and one", "none pays", "no room"],
)
def test_streams_are_added_while_it_pays(capacity: float, most: int, found: int) -> None:
    window = moved(4, capacity, 1000, most)
    assert (window.most, window.streams) == (found, found)


@given(st.integers(1, 16), st.lists(st.floats(0, 1e9), max_size=200))
def test_growth_keeps_to_its_most_whatever_the_rates(most: int, times: list[float]) -> None:
    window = Window(min(4, most))
    growth = Growth(window, most, 0.0)
    for now in times:
        growth.moved(MiB, now)
        window.grow()
        assert 1 <= window.streams <= window.most <= most


def test_a_throttled_window_does_not_grow_its_most() -> None:
    window = Window(4)
    growth = Growth(window, 16, 0.0)
    window.shrink(0)
    for now in range(1, 50):
        growth.moved(MiB, float(now))
    assert (window.most, window.streams) == (4, 2)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def throttle(pace: Pace, failure: Failure) -> None:
    with pytest.raises(Failure), pace.turn():
        raise failure


def test_no_more_tries_at_once_than_streams(clock: Clock, stop: threading.Event) -> None:
    pace = Pace(Window(4), stop, clock=clock)
    throttle(pace, slow_down())
    release, lock = threading.Event(), threading.Lock()
    inside, most = 0, 0
    full = threading.Semaphore(0)

    def stream() -> None:
        nonlocal inside, most
        with pace.turn():
            with lock:
                inside += 1
                most = max(most, inside)
            full.release()
            release.wait(30)
            with lock:
                inside -= 1

    threads = [threading.Thread(target=stream) for _ in range(6)]
    for thread in threads:
        thread.start()
    assert full.acquire(timeout=30)
    assert full.acquire(timeout=30)
    assert not full.acquire(timeout=0.2)
    assert most == pace.streams == 2
    release.set()
    for thread in threads:
        thread.join(30)
    assert (inside, most <= 4) == (0, True)


def test_everybody_waits_for_a_store_that_asked_for_it(clock: Clock, stop: threading.Event) -> None:
    pace = Pace(Window(4), stop, clock=clock)
    throttle(pace, slow_down(Side.DESTINATION, 10))
    throttle_later = threading.Thread(target=lambda: pace.wait(Side.DESTINATION))
    begun = threading.Event()

    def stream() -> None:
        with pace.turn():
            begun.set()

    threads = [throttle_later, *(threading.Thread(target=stream) for _ in range(3))]
    for thread in threads:
        thread.start()
    pace.wait(Side.SOURCE)  # It has asked for nothing.
    clock.now += 9
    assert not begun.wait(0.7)
    assert throttle_later.is_alive()
    clock.now += 1
    assert begun.wait(30)
    for thread in threads:
        thread.join(30)


def test_the_longest_pause_holds(clock: Clock, stop: threading.Event) -> None:
    pace = Pace(Window(4), stop, clock=clock)
    failures = [slow_down(Side.SOURCE, 60), slow_down(Side.SOURCE, 1)]
    turns = [pace.turn(), pace.turn()]
    for turn in turns:
        turn.__enter__()
    for turn, failure in zip(turns, failures, strict=True):
        assert not turn.__exit__(Failure, failure, None)
    clock.now += 59
    stop.set()
    with pytest.raises(Failure):
        pace.wait(Side.SOURCE)


def test_a_stopped_pod_waits_for_nothing(clock: Clock, stop: threading.Event) -> None:
    pace = Pace(Window(1), stop, clock=clock)
    throttle(pace, slow_down(retry_after=60))
    stop.set()
    for attempt in (pace.turn, lambda: pace.turn(1)):
        with pytest.raises(Failure) as caught, attempt():
            pass
        assert caught.value.reason is Reason.WORKER_TERMINATED


def test_other_failures_change_nothing(clock: Clock, stop: threading.Event) -> None:
    pace = Pace(Window(4), stop, clock=clock)
    throttle(pace, Failure(Reason.DESTINATION_UNAVAILABLE, "500"))
    clock.now += 1000
    assert (pace.streams, pace.starved()) == (4, 0)


def test_starving_begins_with_the_first_throttling_after_a_success(
    clock: Clock, stop: threading.Event
) -> None:
    pace = Pace(Window(4), stop, clock=clock)
    throttle(pace, slow_down())
    clock.now += 5
    throttle(pace, slow_down())
    assert pace.starved() == 5
    with pace.turn(MiB):
        pass
    assert pace.starved() == 0
