"""The one place that turns what the reconcile found out into conditions.

``Complete`` and ``Failed`` are Job's names, for ``kubectl wait``. ``Ready``, ``Reconciling`` and
``Stalled`` are kstatus's, for Flux and kpt
(https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md).
"""

from collections.abc import Iterable

from multipartcopy.api.status import Condition, Phase

MESSAGE_LIMIT = 1024


def summarize(
    phase: Phase,
    reason: str,
    message: str,
    *,
    generation: int,
    now: str,
    before: Iterable[Condition],
) -> tuple[Condition, ...]:
    """All five conditions. ``now`` (RFC 3339) is the transition time of those whose status changes."""
    done, failed = phase is Phase.SUCCEEDED, phase is Phase.FAILED
    suspended = phase is Phase.SUSPENDED
    states = {
        "Complete": done,
        "Failed": failed,
        "Ready": done,
        "Reconciling": not (done or failed or suspended),
        "Stalled": failed,
    }
    previous = {condition.type: condition for condition in before}
    message = message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 1] + "…"

    def condition(kind: str, state: bool) -> Condition:
        status = "True" if state else "False"
        old = previous.get(kind)
        since = old.last_transition_time if old and old.status == status else now
        return Condition(kind, status, reason, message, since, generation)

    return tuple(condition(kind, state) for kind, state in states.items())


def summary(conditions: Iterable[Condition]) -> Condition | None:
    """The condition that says what the resource is about now (they share reason and message)."""
    return next(iter(conditions), None)
