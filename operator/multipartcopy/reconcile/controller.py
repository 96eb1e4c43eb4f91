"""The loop of each live resource: observe, decide, act, until there is nothing to do but wait.

Watches only wake it; it believes nothing but what it reads. One task a UID, so no two passes over
one resource ever overlap in this process; two processes are kept apart by the writer's lock.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from multipartcopy.api import names
from multipartcopy.api.conditions import summary
from multipartcopy.api.reasons import Reason, reason_of
from multipartcopy.api.status import Phase
from multipartcopy.kube import Kube, KubeError, NotFoundError
from multipartcopy.metrics import PassError
from multipartcopy.reconcile.act import Effects, Memory
from multipartcopy.reconcile.decide import Wait, decide
from multipartcopy.reconcile.facts import Facts, Seat, read_pod
from multipartcopy.reconcile.observe import observe
from multipartcopy.reconcile.queueing import read_seat, seat_of
from multipartcopy.reconcile.writer import LostRaceError

logger = logging.getLogger("multipartcopy.controller")

_THREADS = 20
_OF_A_NAMESPACE = 16
"""Not per endpoint: of these whoever may create a copy can name any number."""
_LONGEST_WAIT = 30.0
"""Seconds; the safety net under the watches."""
_DEBOUNCE = 0.1
_STEPS_A_PASS = 50
_KEPT_PODS = 10_000


class Controller:
    """Made and used in the event loop; the passes run in its threads."""

    def __init__(self, kube: Kube, effects: Effects) -> None:
        self._kube = kube
        self._effects = effects
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="reconcile")
        self._turns = defaultdict[str, asyncio.Semaphore](
            lambda: asyncio.Semaphore(_OF_A_NAMESPACE)
        )
        """By namespace: the stores of one may be slow to answer, and hold as many threads as it has copies."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._wakes: dict[str, asyncio.Event] = {}
        self._memories: dict[str, Memory] = {}
        self._seats: dict[str, Seat] = {}
        """Of every live copy, as it was last seen: what an operator with limits looks at, without asking."""
        self._stopping = False

    @property
    def live(self) -> int:
        """How many resources are being worked on."""
        return len(self._tasks)

    def notice(self, body: Mapping[str, Any]) -> None:
        """A resource was seen or has changed."""
        meta = body["metadata"]
        uid = meta["uid"]
        if self._limited and uid not in self._seats and (seat := read_seat(body)):
            self._seats[uid] = seat
        if uid in self._tasks:
            self._wakes[uid].set()
        elif not self._stopping:
            self._wakes[uid] = asyncio.Event()
            loop = self._run(uid, meta["namespace"], meta["name"])
            self._tasks[uid] = asyncio.create_task(loop, name=f"copy-{meta['name']}")

    def notice_child(self, body: Mapping[str, Any], *, pod: bool) -> None:
        """A Job or pod of ours has changed. The end of a pod is kept: it may be gone before the next LIST."""
        uid = body["metadata"].get("labels", {}).get(names.LABEL_UID, "")
        memory = self._memories.get(uid)
        if pod and memory and not memory.ended and len(memory.gone_pods) < _KEPT_PODS:
            seen = read_pod(body)
            if seen.finished:
                memory.gone_pods[seen.uid] = seen
        if uid in self._wakes:
            self._wakes[uid].set()

    async def stop(self, patience: float) -> None:
        """No new effect; those under way are given ``patience`` seconds to be finished and recorded."""
        self._stopping = True
        tasks = list(self._tasks.values())
        for wake in self._wakes.values():
            wake.set()
        if tasks:
            await asyncio.wait(tasks, timeout=patience)
        for task in tasks:
            task.cancel()
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _run(self, uid: str, namespace: str, name: str) -> None:
        memory = self._memories.setdefault(uid, Memory())
        wake = self._wakes[uid]
        loop = asyncio.get_running_loop()
        try:
            while not self._stopping:
                async with self._turns[namespace]:
                    wake.clear()
                    before = self._seats.get(uid)
                    with self._effects.metrics.reconciling():
                        seconds = await loop.run_in_executor(
                            self._executor, self._pass, uid, namespace, name, memory
                        )
                self._wake_next(before, self._seats.get(uid))
                if seconds is None and not wake.is_set():
                    return
                await _sleep(wake, _LONGEST_WAIT if seconds is None else seconds)
        finally:
            del self._tasks[uid], self._wakes[uid]
            self._effects.metrics.under_way(uid, None)
            self._effects.metrics.pods(uid, running=0, waiting=0)

    @property
    def _limited(self) -> bool:
        limits = self._effects.limits
        return bool(limits.max_active_copies or limits.max_pods)

    def _wake_next(self, before: Seat | None, after: Seat | None) -> None:
        """Where a copy has given up its place, or pods, or does not wait any more, it is the next one's turn."""
        if before is None:
            return
        left = after is None or (before.begun or before.ready) > (after.begun or after.ready)
        if left or (after and after.wants < before.wants):
            waiting = [seat for seat in self._seats.values() if seat.ready]
            first = min(waiting, key=lambda seat: seat.order, default=None)
            if first and first.uid in self._wakes:
                self._wakes[first.uid].set()

    def _pass(self, uid: str, namespace: str, name: str, memory: Memory) -> float | None:
        """Steps until one says wait: the seconds until the next pass, None for not before a change."""
        metrics = self._effects.metrics
        try:
            facts: Facts | None
            for _ in range(_STEPS_A_PASS):
                if self._stopping:
                    return 0.0
                try:
                    seats = tuple(self._seats.values())
                    facts = observe(self._kube, namespace, name, memory, seats)
                except NotFoundError:
                    facts = None
                if facts is None or facts.resource.owner.uid != uid:
                    self._seats.pop(uid, None)
                    metrics.kept(uid, False)
                    self._effects.bury(self._memories.pop(uid, memory))
                    return None
                metrics.under_way(uid, _said(facts))
                metrics.kept(uid, facts.status.kept)
                if self._limited:
                    self._seats[uid] = seat_of(facts)
                action = decide(facts, self._effects.limits)
                logger.debug("%s/%s: %s", namespace, name, type(action).__name__)
                wait = self._effects.perform(action, facts, memory)
                if isinstance(wait, Wait):
                    return wait.seconds
            logger.warning("%s/%s: many steps in one pass", namespace, name)
        except LostRaceError:
            metrics.reconcile_failed(PassError.CONFLICT)
            return 0.5
        except KubeError as error:
            metrics.reconcile_failed(PassError.KUBERNETES)
            logger.warning("%s/%s: %s", namespace, name, error)
            return 3.0
        except Exception:
            # A defect of ours must not end the loop that guards an upload.
            metrics.reconcile_failed(PassError.DEFECT)
            logger.exception("%s/%s: the pass failed", namespace, name)
            return 10.0
        return 1.0


def _said(facts: Facts) -> tuple[Phase, Reason]:
    said = summary(facts.status.conditions)
    return facts.status.phase, reason_of(said.reason) if said else Reason.INSPECTING


async def _sleep(wake: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(wake.wait(), min(seconds, _LONGEST_WAIT))
    except TimeoutError:
        return
    # Changes come in bursts: a pod's end is three events.
    await asyncio.sleep(_DEBOUNCE)
