"""Who begins, where an operator may work on so many copies, or run so many pods, at the same time."""

import asyncio
import sys
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multipartcopy import commands
from multipartcopy.api.codec import to_json
from multipartcopy.api.conditions import summarize
from multipartcopy.api.status import Failing, Intent, Phase
from multipartcopy.jobs import Image
from multipartcopy.metrics import Metrics
from multipartcopy.reconcile import decide as steps
from multipartcopy.reconcile.act import Effects
from multipartcopy.reconcile.controller import Controller
from multipartcopy.reconcile.decide import decide
from multipartcopy.reconcile.facts import Limits, Seat, format_time, read_job
from multipartcopy.reconcile.queueing import pods_for, read_seat, seat_of, shares, why_not_yet
from tests.unit.facts import CLAIMED, FULL, NEW, NOW, SPEC, UPLOADING, facts, job, pod

TWO, PODS = Limits(max_active_copies=2), Limits(max_pods=8)
SUSPENDED = replace(SPEC, suspend=True)
RESUMED = replace(UPLOADING, start_time=None)


def seat(uid: str, age: int = 0, *, begun: bool = False, wants: int = 4, holds: int = 0) -> Seat:
    """``age`` in seconds before that of the copy of the facts."""
    return Seat(uid, NOW - timedelta(seconds=age), begun, not begun, wants, holds)


RUNNING = [seat(f"r{n}", -n, begun=True, holds=4) for n in range(3)]
OLDER, YOUNGER = seat("older", 1), seat("younger", -1)


@pytest.mark.parametrize(
    ("others", "begins"),
    [
        ([], True),
        (RUNNING[:1], True),
        (RUNNING[:2], False),
        (RUNNING, False),
        ([OLDER], True),
        ([OLDER, RUNNING[0]], False),
        ([YOUNGER, RUNNING[0]], True),
        ([replace(OLDER, ready=False), RUNNING[0]], True),
        ([seat("0"), RUNNING[0]], False),  # as old, and the smaller UID
        ([seat("z"), RUNNING[0]], True),
    ],
)
@pytest.mark.parametrize(
    "observed",
    [facts(NEW, finalizer=False), facts(NEW), facts(RESUMED), facts(RESUMED, pods=(pod(),))],
)
def test_first_come_first_served(observed, others, begins):
    step = decide(replace(observed, others=tuple(others)), TWO)
    assert (step.reason != "QueuedByOperator") == begins
    assert type(step) is type(decide(observed)) if begins else steps.Wait


@pytest.mark.parametrize(
    "observed",
    [
        facts(CLAIMED),
        facts(UPLOADING),
        facts(FULL),
        facts(RESUMED, jobs=(job(suspended=True),)),
        facts(replace(RESUMED, completing=Intent(1, "e", "c"))),
        facts(NEW, SUSPENDED),
        facts(NEW, deleted_at=NOW),
        facts(replace(CLAIMED, failing=Failing("SourceChanged", "m", format_time(NOW)))),
    ],
)
def test_what_has_begun_and_what_ends_goes_on(observed):
    assert decide(replace(observed, others=tuple(RUNNING)), TWO) == decide(observed)


def test_the_place_in_the_queue_is_told_while_it_is_near():
    older = [seat(f"o{n}", n + 1) for n in range(9)]
    step = decide(facts(NEW, others=(*RUNNING, *older)), TWO)
    assert step.message == (
        "the operator's limit: 3 copies are under way of 2; place 10 in the queue"
    )
    why = why_not_yet(seat("u"), [*older, *[seat(f"p{n}", 60) for n in range(9)]], TWO)
    assert why
    assert why.endswith("more than 10 before it in the queue")


def test_a_deadline_does_not_count_the_queue():
    hurried = replace(SPEC, active_deadline_seconds=1)
    later = NOW + timedelta(hours=1)
    for status in (NEW, RESUMED):
        step = decide(facts(status, hurried, now=later, others=tuple(RUNNING)), TWO)
        assert step.reason == "QueuedByOperator"


@pytest.mark.parametrize(
    ("seats", "most", "given_"),
    [
        ([], 8, {}),
        # First come, first served.
        ([seat("a", 2, begun=True), seat("b", 1, begun=True)], 8, {"a": 4, "b": 4}),
        ([seat("a", 2, begun=True), seat("b", 1, begun=True)], 6, {"a": 4, "b": 2}),
        # None that has begun is left without, and those who have begun come before those who wait.
        ([seat("a", 2, begun=True), seat("b", 1, begun=True)], 4, {"a": 3, "b": 1}),
        ([seat("a", 2), seat("b", 1, begun=True)], 4, {"a": 0, "b": 4}),
        # No pod is stopped for another's sake, but for a limit that was lowered.
        (
            [seat("a", 2, begun=True, wants=9, holds=2), seat("b", begun=True, holds=4)],
            8,
            {"a": 4, "b": 4},
        ),
        ([seat("a", 2, begun=True, holds=4), seat("b", begun=True, holds=4)], 5, {"a": 4, "b": 1}),
        # Of one that is being stopped.
        ([Seat("a", NOW, False, False, 3, 3), seat("b", begun=True)], 4, {"a": 3, "b": 1}),
    ],
)
def test_pods_are_shared(seats, most, given_):
    assert shares(seats, most) == given_


SEATS = st.lists(
    st.builds(
        seat,
        st.uuids().map(str),
        st.integers(0, 5),
        begun=st.booleans(),
        wants=st.integers(0, 9),
        holds=st.integers(0, 9),
    ),
    max_size=6,
    unique_by=lambda seat: seat.uid,
)


@given(seats=SEATS, most=st.integers(1, 20))
def test_no_more_than_there_are_and_none_left_that_is_wanted(seats, most):
    given_ = shares(seats, most)
    wanted = {s.uid: s.wants for s in seats}
    assert all(0 <= given_[uid] <= wanted[uid] for uid in wanted)
    assert sum(given_.values()) == min(most, sum(wanted.values()))


@pytest.mark.parametrize(
    ("observed", "pods"),
    [
        (facts(UPLOADING), 4),
        (facts(UPLOADING, others=(seat("a", 9, begun=True, wants=6, holds=6),)), 2),
        (facts(UPLOADING, others=(seat("a", 9, wants=8),)), 4),  # which only waits
        (facts(UPLOADING, jobs=(job(left=2),), others=(RUNNING[0],)), 4),
    ],
)
def test_how_many_pods_a_run_may_have(observed, pods):
    assert pods_for(observed, PODS) == pods
    assert pods_for(observed, Limits()) == 4
    step = decide(observed, PODS)
    if isinstance(step, steps.StartRun):
        assert step.pods == pods


def test_a_run_is_given_more_when_others_end_and_less_when_the_limit_is_lowered():
    grown = facts(UPLOADING, jobs=(job(parallelism=2),), pods=(pod(),))
    step = decide(grown, PODS)
    assert isinstance(step, steps.Scale)
    assert step.parallelism == 4
    rival = seat("a", 9, begun=True, holds=4)
    lowered = facts(UPLOADING, jobs=(job(),), pods=(pod(),), others=(rival,))
    step = decide(lowered, Limits(max_pods=5))
    assert isinstance(step, steps.Scale)
    assert step.parallelism == 1
    # Only where there are more copies than pods.
    assert pods_for(lowered, Limits(max_pods=1)) == 0
    start = decide(facts(UPLOADING, others=(rival,)), Limits(max_pods=1))
    assert (type(start), start.reason) == (steps.Wait, "QueuedByOperator")


def test_a_copy_waits_where_all_pods_are_spoken_for():
    full = [seat("a", 9, begun=True, wants=8)]
    step = decide(facts(NEW, others=tuple(full)), PODS)
    assert step.reason == "QueuedByOperator"
    assert "all of 8 pods are in use, or spoken for; place 1 in the queue" in step.message
    assert (
        decide(facts(NEW, others=(seat("a", 9, begun=True, wants=7),)), PODS).reason == "Inspecting"
    )


@pytest.mark.parametrize(
    ("observed", "begun", "ready", "wants", "holds"),
    [
        (facts(NEW), False, True, 4, 0),
        (facts(NEW, SUSPENDED), False, False, 0, 0),
        (facts(CLAIMED), True, False, 4, 0),
        (facts(UPLOADING, jobs=(job(left=3),)), True, False, 3, 3),
        (facts(UPLOADING, jobs=(job(left=1),), pods=(pod(), pod())), True, False, 2, 2),
        (facts(UPLOADING, jobs=(job(suspended=True),)), True, False, 4, 0),
        (facts(RESUMED, jobs=(job(suspended=True),)), True, False, 4, 0),
        (facts(RESUMED), False, True, 4, 0),
        (facts(UPLOADING, deleted_at=NOW, pods=(pod(),)), False, False, 1, 1),
        (facts(replace(FULL, completing=Intent(1, "e", "c"))), True, False, 0, 0),
        (
            facts(replace(NEW, phase=Phase.FAILED, completion_time=format_time(NOW))),
            False,
            False,
            0,
            0,
        ),
    ],
)
def test_what_matters_of_a_copy(observed, begun, ready, wants, holds):
    found = seat_of(observed)
    assert (found.begun, found.ready, found.wants, found.holds) == (begun, ready, wants, holds)


def body(status=NEW, reason=None, **spec):
    if reason:
        said = summarize(status.phase, reason, "m", generation=1, now=format_time(NOW), before=())
        status = replace(status, conditions=said)
    meta = {"name": "n", "namespace": "ns", "uid": "u", "generation": 1, "resourceVersion": "1"}
    meta["creationTimestamp"] = format_time(NOW)
    return {"metadata": meta, "spec": to_json(SPEC) | spec, "status": to_json(status)}


@pytest.mark.parametrize(
    ("found", "begun", "ready", "wants"),
    [
        (body(), False, True, 4),
        (body(reason="QueuedByOperator", parallelism=9), False, True, 9),
        (body(suspend=True), False, False, 0),
        (body(reason="SecretNotFound"), False, False, 0),
        (body(reason="DestinationBusy"), False, False, 0),
        (body(UPLOADING), True, False, 4),
        (body(RESUMED, "JobSuspended"), True, False, 4),
    ],
)
def test_what_is_known_of_a_copy_by_its_resource(found, begun, ready, wants):
    seen = read_seat(found)
    assert seen
    assert (seen.begun, seen.ready, seen.wants, seen.holds) == (begun, ready, wants, wants * begun)


def test_a_copy_that_cannot_be_read_holds_up_nobody():
    assert read_seat(body(mode="Teleport")) is None


def test_a_job_tells_what_is_left_of_it():
    meta = {"name": "j", "uid": "u"}
    status = {"succeeded": 3, "failedIndexes": "0,5-6"}
    seen = {"metadata": meta, "spec": {"completions": 9}, "status": status}
    assert read_job(seen).left == 3


def test_the_next_in_the_queue_is_woken():
    async def main() -> None:
        effects = Effects(None, Image("i"), None, TWO, Metrics())  # type: ignore[arg-type]
        controller = Controller(None, effects)  # type: ignore[arg-type]
        next_ = asyncio.Event()
        controller._seats = {"a": OLDER, "b": replace(YOUNGER, uid="b")}
        controller._wakes = {"b": next_}
        controller._wake_next(OLDER, OLDER)
        assert not next_.is_set()
        del controller._seats["a"]
        controller._wake_next(OLDER, None)
        assert next_.is_set()
        next_.clear()
        controller._wake_next(RUNNING[0], replace(RUNNING[0], wants=3))
        assert next_.is_set()

    asyncio.run(main())


def test_the_copies_of_one_namespace_leave_threads_to_the_others(monkeypatch):
    """Its stores may all be slow, or mean to be."""
    over, theirs = threading.Event(), []

    def slow(self, uid, namespace, *_):
        if namespace == "slow":
            theirs.append(uid)
            over.wait(30)
        else:
            loop.call_soon_threadsafe(done.set)

    def seen(namespace, n):
        return {"metadata": {"uid": f"{namespace}{n}", "namespace": namespace, "name": "n"}}

    async def main() -> None:
        nonlocal loop, done
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        effects = Effects(None, Image("i"), None, Limits(), Metrics())  # type: ignore[arg-type]
        controller = Controller(None, effects)  # type: ignore[arg-type]
        for n in range(40):
            controller.notice(seen("slow", n))
        await asyncio.sleep(0.1)
        controller.notice(seen("other", 0))
        try:
            await asyncio.wait_for(done.wait(), 5)
            assert len(theirs) == 16
        finally:
            over.set()
        while controller.live:
            await asyncio.sleep(0.01)
        await controller.stop(5)

    loop = done = None
    monkeypatch.setattr(Controller, "_pass", slow)
    asyncio.run(main())
    assert len(theirs) == 40


def test_the_limits_are_flags_or_environment(monkeypatch, capsys):
    chosen = []
    monkeypatch.setattr(
        commands,
        "_operate",
        lambda options: chosen.append((options.max_active_copies, options.max_pods)),
    )
    monkeypatch.setattr(sys, "argv", ["multipartcopy", "operator"])
    commands.main()
    monkeypatch.setenv("MULTIPARTCOPY_MAX_ACTIVE_COPIES", "7")
    monkeypatch.setenv("MULTIPARTCOPY_MAX_PODS", "8")
    commands.main()
    monkeypatch.setattr(sys, "argv", ["multipartcopy", "operator", "--max-pods=9"])
    commands.main()
    assert chosen == [(0, 0), (7, 8), (7, 9)]
    monkeypatch.setenv("MULTIPARTCOPY_MAX_PODS", "many")
    monkeypatch.setattr(sys, "argv", ["multipartcopy", "operator"])
    with pytest.raises(SystemExit):
        commands.main()
    assert "is no whole number" in capsys.readouterr().err
