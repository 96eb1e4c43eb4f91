"""A run of random copies under random faults: `make soak MINUTES=10 SEED=7 KEEP=1`.

All choices of a round are drawn from the seed and the round's number before it begins, so a seed
replays them, whatever the machine's speed makes of it. After each round every copy must have ended as
it may, its object be whole, and no upload be left. Ends with status 1 at the first violation, or
with KEEP after the time is up.
"""

import hashlib
import os
import random
import secrets
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from dev import lab
from dev.test import cluster
from tests.cluster.gates import Rule
from tests.cluster.processes import Operator, kill_worker
from tests.cluster.world import LIGHT, MiB, World, install, made

COPIES, EVENTS = 6, 6
SIZES = (0, 1, 5 * MiB, 16 * MiB, 16 * MiB, 21 * MiB + 1)
FATES = ("", "", "", "", "suspended", "deleted", "overwritten")
MAY_FAIL = {"DestinationExists", "DestinationChanged", "CompleteUnknown"}
OUTAGE_SECONDS = 3

PARTS, COMPLETE = r"^PUT /dst/.*partNumber=", r"^POST /dst/.*uploadId="
FAULTS: dict[str, list[Rule]] = {
    "source": [
        {"match": "^GET", "times": 3, "do": {"kind": "answer", "status": 503}},
        {"match": "^GET", "times": 2, "do": {"kind": "reset", "at": "answer-body", "after": MiB}},
        {"match": "^GET", "times": 2, "do": {"kind": "truncate", "after": 2 * MiB}},
    ],
    "destination": [
        {"match": PARTS, "times": 3, "do": {"kind": "answer", "status": 503}},
        {"match": PARTS, "times": 2, "do": {"kind": "reset", "at": "request-body", "after": MiB}},
        {"match": PARTS, "times": 2, "do": {"kind": "reset", "at": "answer"}},
        {"match": COMPLETE, "times": 2, "do": {"kind": "reset", "at": "answer"}},
        {"match": r"^POST /dst/.*\?uploads", "times": 2, "do": {"kind": "reset", "at": "answer"}},
        {"match": r"^(HEAD|DELETE)", "times": 4, "do": {"kind": "answer", "status": 500}},
    ],
    "API server": [
        {"match": "", "times": 6, "do": {"kind": "answer", "status": 500}},
        {"match": "^PATCH", "times": 3, "do": {"kind": "answer", "status": 409}},
        {"match": "^(PATCH|POST|DELETE)", "times": 4, "do": {"kind": "reset", "at": "answer"}},
        {"match": "^(PATCH|POST|DELETE)", "times": 4, "do": {"kind": "reset", "at": "request"}},
    ],
}


@dataclass
class Copy:
    """One copy of a round: what was chosen, and what its key may hold by now."""

    name: str
    size: int
    spec: dict[str, Any]
    before: str
    fate: str
    source: str = ""
    others: set[str | None] = field(default_factory=set)


@dataclass(frozen=True)
class Event:
    """``after`` seconds; ``number`` chooses among what there is by then."""

    after: float
    what: str
    number: int


class Soak:
    def __init__(self, world: World, operator: Operator, seed: str) -> None:
        self.world, self.operator, self.seed = world, operator, seed
        self.count: Counter[str] = Counter()
        self.events: dict[str, Callable[[list[Copy], int], None]] = {
            "the operator is killed": lambda _c, _n: operator.kill(),
            "a worker is killed": lambda c, n: self._strike(c, n, signal.SIGKILL),
            "a worker is terminated": lambda c, n: self._strike(c, n, signal.SIGTERM),
            "a pod is deleted": lambda c, n: self._remove(c, n, "pods"),
            "a Job is deleted": lambda c, n: self._remove(c, n, "jobs"),
            "the stores are away": lambda _c, _n: self._outage(),
            "the Secret is away": lambda _c, _n: self._no_secret(),
            "the source errs": lambda _c, n: self._err("source", n),
            "the destination errs": lambda _c, n: self._err("destination", n),
            "the API server errs": lambda _c, n: self._err("API server", n),
        }

    def round(self, number: int) -> list[str]:
        """Returns its violations."""
        copies, events = self._plan(number)
        for gate in self.world.gates:
            gate.forget()
        for copy in copies:
            self._begin(copy)
        fates = [copy for copy in copies if copy.fate]
        for index, event in enumerate(events):
            time.sleep(event.after)
            print(f"  {event.what} ({event.number})", flush=True)
            with suppress(lab.LabError, AssertionError):  # What it was to hit has ended already.
                self.events[event.what](copies, event.number)
            self.count["events"] += 1
            for copy in fates[index::EVENTS]:
                self._meet(copy)
        for gate in self.world.gates:
            gate.up()
            gate.open()
        problems = []
        for copy in copies:
            self.count["copies"] += 1
            try:
                self._check(copy)
                self.count["survived"] += 1
            except (AssertionError, lab.LabError) as error:
                problems.append(f"{copy.name}: {error}")
            self.count["bytes sent again"] += self.world.sent_again(copy.name)
        return problems

    def _plan(self, number: int) -> tuple[list[Copy], list[Event]]:
        chance = random.Random(f"{self.seed}/{number}")
        copies = []
        for index in range(COPIES):
            spec = {
                "overwrite": chance.choice(("IfDifferent", "Always", "Never")),
                "verification": chance.choice(("Auto", "PartMD5", "ReadBack", "None")),
                "parallelism": chance.randint(1, 3),
            }
            before = chance.choice(("", "", "other", "equal"))
            size, fate = chance.choice(SIZES), chance.choice(FATES)
            copies.append(Copy(f"soak-{number}-{index}", size, spec, before, fate))
        events = [
            Event(chance.uniform(0, 3), chance.choice(sorted(self.events)), chance.randrange(1000))
            for _ in range(EVENTS)
        ]
        return copies, events

    def _begin(self, copy: Copy) -> None:
        print(
            f"  {copy.name}: {copy.size} bytes, {copy.spec}, {copy.before or 'nothing'} there,"
            f" to be {copy.fate or 'copied'}",
            flush=True,
        )
        content = secrets.token_bytes(copy.size)
        copy.source = hashlib.sha256(content).hexdigest()
        self.world.put(copy.name, content)
        there = {"other": b"other", "equal": content}.get(copy.before)
        self._write(copy, there) if there is not None else copy.others.add(None)
        self.world.copy(copy.name, copy.name, worker=LIGHT, **copy.spec)

    def _write(self, copy: Copy, content: bytes) -> None:
        self.world.destination.put_object(Bucket="dst", Key=copy.name, Body=content)
        copy.others.add(hashlib.sha256(content).hexdigest())

    def _meet(self, copy: Copy) -> None:
        print(f"  {copy.name} is {copy.fate}", flush=True)
        if copy.fate == "suspended":
            self.world.patch(copy.name, suspend=True)
        elif copy.fate == "deleted":
            lab.kubectl(
                "--namespace", self.world.namespace, "delete", "mpc", copy.name, "--wait=false"
            )
        else:
            self._write(copy, b"a stranger's")

    # Events.

    def _strike(self, copies: list[Copy], number: int, how: signal.Signals) -> None:
        pods = [p for c in copies for p in self.world.pods(c.name)]
        running = [p for p in pods if p["status"]["phase"] == "Running"]
        kill_worker(running[number % len(running)], self.world.namespace, how) if running else None

    def _remove(self, copies: list[Copy], number: int, kind: str) -> None:
        where, ours = ("--namespace", self.world.namespace), "multipartcopy.dev/uid"
        items = lab.get(*where, kind, f"--selector={ours}")["items"]
        if items:
            name = items[number % len(items)]["metadata"]["name"]
            lab.kubectl(*where, "delete", kind, name, "--wait=false")

    def _outage(self) -> None:
        stores = (self.world.source_gate, self.world.destination_gate)
        for gate in stores:
            gate.down()
        time.sleep(OUTAGE_SECONDS)
        for gate in stores:
            gate.up()

    def _no_secret(self) -> None:
        lab.kubectl("--namespace", self.world.namespace, "delete", "secret", "s3")
        time.sleep(OUTAGE_SECONDS)
        lab.apply(lab.credentials("s3"), namespace=self.world.namespace)

    def _err(self, where: str, number: int) -> None:
        gate = dict(zip(FAULTS, self.world.gates, strict=True))[where]
        rules = FAULTS[where]
        gate.add({**rules[number % len(rules)], "name": f"fault-{number}"})

    # Afterwards.

    def _check(self, copy: Copy) -> None:
        world, name = self.world, copy.name
        if copy.fate == "deleted":
            world.wait_gone(name, 120)
            copy.others.add(copy.source)
        else:
            if copy.fate == "suspended":
                world.patch(name, suspend=False)
            ended = lab.wait_until(f"{name} ended", lambda: self._end(name), 240)
            if ended == "Succeeded":
                if copy.fate != "overwritten":
                    copy.others.clear()
                copy.others.add(copy.source)
            else:
                reason = world.reason(name)
                assert reason in MAY_FAIL, f"{reason}: {world.message(name)}"
                assert reason != "DestinationExists" or copy.spec["overwrite"] == "Never"
                assert reason == "DestinationExists" or copy.fate == "overwritten", reason
        there = world.sha256(name) if world.exists(name) else None
        assert there in copy.others, f"its key holds {there}, not one of {copy.others}"
        world.wait_no_upload(name, 60)

    def _end(self, name: str) -> str:
        status = self.world.status(name)
        return str(status["phase"]) if status.get("completionTime") else ""


def main() -> int:
    minutes = float(os.environ.get("MINUTES") or 10)
    seed = os.environ.get("SEED") or str(secrets.randbelow(10**6))
    print(f"soak of {minutes:g} minutes, SEED={seed}", flush=True)
    violations: list[str] = []
    tally: Counter[str] = Counter()
    with cluster():
        install()
        with made(os.environ["S3_IMAGE"], tally) as world:
            soak = Soak(world, Operator(tally), seed)
            end, number = time.monotonic() + 60 * minutes, 0
            while time.monotonic() < end and (not violations or os.environ.get("KEEP")):
                number += 1
                print(f"round {number}", flush=True)
                found = soak.round(number)
                violations += found
                for problem in found:
                    print(f"  VIOLATION {problem}", flush=True)
            if violations:
                print("\n".join(soak.operator.logs().values()))
    counts = ", ".join(
        f"{soak.count[what]} {what}"
        for what in ("events", "copies", "survived", "bytes sent again")
    )
    print(f"soak: seed {seed}, {number} rounds, {counts}, {len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
