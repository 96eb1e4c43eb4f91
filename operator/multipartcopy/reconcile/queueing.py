"""Pure: who begins, where an operator may work on so many copies, or run so many pods, at the same time.

First come, first served, by the time of creation; one that cannot begin holds up nobody. Nothing is
remembered: that a copy has begun is its ``status.startTime``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from multipartcopy.api.conditions import summary
from multipartcopy.api.reasons import CANNOT_BEGIN, Reason
from multipartcopy.reconcile.facts import Facts, Limits, Resource, Seat, read_resource

_CANNOT_BEGIN = CANNOT_BEGIN | {Reason.DESTINATION_BUSY}
_COUNTED = 10
"""Places that are told: else each of a long queue would be written anew whenever one moves up."""


def seat_of(facts: Facts) -> Seat:
    """Of a copy that was just looked at."""
    job, running = facts.run_job(), sum(not pod.finished for pod in facts.pods)
    seat = _seat(facts.resource, begun=job is not None)
    if not seat.begun:
        # Whatever still runs of one that is being suspended or given up.
        return Seat(seat.uid, seat.created, False, seat.ready, max(running, seat.wants), running)
    if job is None or job.finished:
        return Seat(seat.uid, seat.created, True, False, max(running, seat.wants), running)
    wants = min(facts.spec.parallelism, job.left)
    holds = 0 if facts.queued else min(job.parallelism, job.left)
    return Seat(seat.uid, seat.created, True, False, max(running, wants), max(running, holds))


def read_seat(body: Mapping[str, Any]) -> Seat | None:
    """Of one of which only the resource is known: it is taken to hold what it wants.

    None for one that cannot be read, since another version has written it: it must not hold up the others.
    """
    try:
        seat = _seat(read_resource({**body, "status": _without_ledger(body.get("status", {}))}))
    except (KeyError, TypeError, ValueError):
        return None
    return replace(seat, holds=seat.wants * seat.begun)


def _without_ledger(status: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in status.items() if name != "batches"}


def _seat(resource: Resource, *, begun: bool = False) -> Seat:
    status, spec = resource.status, resource.spec
    said = summary(status.conditions)
    reason = said.reason if said else Reason.INSPECTING
    live = not (status.over or status.failing or resource.deleted_at)
    begun = begun or status.start_time is not None or reason == Reason.JOB_SUSPENDED
    begun = live and status.claim is not None and begun
    ready = live and not begun and not spec.suspend and reason not in _CANNOT_BEGIN
    batches = status.plan.batch_count if status.plan else spec.parallelism
    done = status.completing is not None
    wants = min(spec.parallelism, batches) if (begun or ready) and not done else 0
    return Seat(resource.owner.uid, resource.created, begun, ready, wants)


def shares(seats: Iterable[Seat], most: int) -> dict[str, int]:
    """How many pods each may have of ``most``.

    Whoever has begun gets one, and keeps what it holds: no pod is stopped for another's sake. What is
    left goes to those who have begun, then to those who wait, by age.
    """
    order, left = sorted(seats, key=lambda seat: seat.order), most
    given = dict.fromkeys((seat.uid for seat in order), 0)

    def give(seat: Seat, upto: int) -> None:
        nonlocal left
        more = max(0, min(upto - given[seat.uid], left))
        given[seat.uid] += more
        left -= more

    for seat in order:
        give(seat, min(1, seat.wants) if seat.begun else 0)
    for seat in order:
        give(seat, min(seat.holds, seat.wants))
    for seat in order:
        give(seat, seat.wants if seat.begun or seat.ready else 0)
    return given


def pods_for(facts: Facts, limits: Limits) -> int:
    """How many pods the run may have now, whatever its spec allows."""
    if not limits.max_pods:
        return facts.spec.parallelism
    ours = seat_of(facts)
    given = shares((ours, *facts.others), limits.max_pods)[ours.uid]
    return facts.spec.parallelism if given >= ours.wants else given


def why_not_yet(ours: Seat, others: Iterable[Seat], limits: Limits) -> str | None:
    """What a copy that has not begun waits for; None where it may begin."""
    others = tuple(others)
    ours = replace(ours, ready=True, wants=max(1, ours.wants))
    begun = sum(seat.begun for seat in others)
    before = sum(seat.ready and seat.order < ours.order for seat in others)
    reasons = []
    if limits.max_active_copies and begun + before >= limits.max_active_copies:
        reasons.append(f"{begun} copies are under way of {limits.max_active_copies}")
    if limits.max_pods and not shares((ours, *others), limits.max_pods)[ours.uid]:
        reasons.append(f"all of {limits.max_pods} pods are in use, or spoken for")
    if not reasons:
        return None
    place = f"place {before + 1}" if before < _COUNTED else f"more than {_COUNTED} before it"
    return f"the operator's limit: {' and '.join(reasons)}; {place} in the queue"
