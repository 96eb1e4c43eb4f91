"""So many bytes a second, to the byte."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multipartcopy.api.reasons import Reason
from multipartcopy.worker.budget import Budget
from multipartcopy.worker.errors import Failure

MiB = 1 << 20


class Sleeper(threading.Event):
    """A clock that only waiting moves, and what waits on it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits.append(timeout)
        self.now += timeout
        return self.is_set()

    def clock(self) -> float:
        return self.now


def test_the_first_is_free_and_each_waits_for_those_before() -> None:
    sleeper = Sleeper()
    budget = Budget(4 * MiB, sleeper, sleeper.clock)
    for _ in range(4):
        budget.take(MiB)
    budget.take(2 * MiB)
    budget.take(1)
    assert sleeper.waits == [0.25, 0.25, 0.25, 0.25, 0.5]


def test_streams_that_ask_at_once_are_let_go_one_after_the_other() -> None:
    budget = Budget(8 * MiB, threading.Event(), lambda: 0.0)
    assert [budget._reserve(MiB) for _ in range(4)] == [0, 0.125, 0.25, 0.375]


def test_nothing_is_saved_up() -> None:
    sleeper = Sleeper()
    budget = Budget(MiB, sleeper, sleeper.clock)
    sleeper.now = 1000.0
    budget.take(MiB)
    budget.take(MiB)
    assert sleeper.waits == [1.0]


@given(
    st.integers(1, 1 << 40), st.lists(st.tuples(st.integers(1, MiB), st.floats(0, 10)), min_size=1)
)
def test_never_more_than_the_rate_and_one_chunk(rate: int, events: list[tuple[int, float]]) -> None:
    """``events``: how many bytes, and how long it takes to move them."""
    sleeper = Sleeper()
    budget = Budget(rate, sleeper, sleeper.clock)
    taken = 0
    for count, busy in events:
        budget.take(count)
        assert taken <= rate * sleeper.now * (1 + 1e-9) + 1e-6
        taken += count
        sleeper.now += busy


def test_a_stopped_pod_waits_no_longer() -> None:
    sleeper = Sleeper()
    budget = Budget(MiB, sleeper, sleeper.clock)
    budget.take(MiB)
    sleeper.set()
    with pytest.raises(Failure) as caught:
        budget.take(MiB)
    assert caught.value.reason is Reason.WORKER_TERMINATED
