"""What may happen to one call of one operator: lost, answered in vain, late, refused, or the caller's death."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from multipartcopy.kube import ConflictError, KubeError
from multipartcopy.s3.errors import Kind, S3Error

T = TypeVar("T")

Event = tuple[Any, ...]
"""Name of a method of the world and its arguments."""


class What(StrEnum):
    NOTHING = "nothing, but for what happens meanwhile"
    LOST = "the request never arrives"
    ANSWER_LOST = "the request is served, the answer never arrives"
    LATE = "the caller gives up waiting, the request is served later"
    CRASH_BEFORE = "the caller dies before it asks"
    CRASH_AFTER = "the caller dies before it hears"


@dataclass(frozen=True)
class Fault:
    """What befalls a call, after what happens ``meanwhile``; ``status`` is what an API server answers to a lost one."""

    what: What = What.NOTHING
    meanwhile: tuple[Event, ...] = ()
    status: int = 0


Fate = Callable[[str, int], Fault | None]
"""From the name of a call, and how many of that name the pass has made before, to what befalls it."""


def script(**faults: Fault) -> Fate:
    """The first call of each name; ``complete_1`` is the second Complete."""

    def fate(name: str, nth: int) -> Fault | None:
        return faults.get(f"{name}_{nth}" if nth else name)

    return fate


CALM: Fate = script()


class Crash(BaseException):
    """The death of a process: nothing may catch it but the world."""


WRITES = frozenset(
    [
        "create_upload",
        "complete",
        "put_empty",
        "abort",
        "delete",
        "patch_copy",
        "patch_copy_status",
        "delete_copy",
        "create_job",
        "set_parallelism",
        "delete_job",
        "create_event",
    ]
)


class Wire:
    """Between one process and the servers."""

    def __init__(
        self,
        happen: Callable[[Event], None],
        late: list[tuple[str, Callable[[], Any]]],
        strike: Callable[[What], None],
    ) -> None:
        self._happen = happen
        self._late = late
        self._fate = CALM
        self._calls: Counter[str] = Counter()
        self._strike = strike

    def begin(self, fate: Fate) -> None:
        """A new pass."""
        self._fate = fate
        self._calls.clear()

    def call(self, name: str, serve: Callable[[], T], error: Callable[[int], Exception]) -> T:
        fault = self._fate(name, self._calls[name])
        self._calls[name] += 1
        if fault is None:
            return serve()
        self._strike(fault.what)
        for event in fault.meanwhile:
            self._happen(event)
        match fault.what:
            case What.NOTHING:
                return serve()
            case What.CRASH_BEFORE:
                raise Crash
            case What.ANSWER_LOST | What.CRASH_AFTER:
                with suppress(S3Error, KubeError):  # Nobody hears a refusal.
                    serve()
            case What.LATE if name in WRITES:
                self._late.append((name, serve))
        if fault.what is What.CRASH_AFTER:
            raise Crash
        # Where something may have been done no refusal is answered.
        raise error(fault.status if fault.what is What.LOST else 0)


def store_error(side: str, operation: str) -> S3Error:
    return S3Error(side, "model", operation, Kind.RETRY, "ReadTimeoutError", "no answer")


def kube_error(status: int) -> KubeError:
    kind = ConflictError if status == 409 else KubeError
    return kind(status, "the model's API server has no answer")
