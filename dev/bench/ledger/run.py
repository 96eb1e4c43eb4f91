"""One copy of very many parts: the real operator, real workers in real pods, between stores that keep nothing."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from dev import lab
from dev.bench import place
from dev.bench.ledger import bottomless, etcd, flows, process
from dev.bench.ledger.figures import Result, Snapshot, make_result, table, verdicts
from dev.bench.report import Finding
from dev.bench.stage import MiB
from dev.cluster.console import PrerequisiteError, say

_PARTS, _QUICK_PARTS = 10_000, 1_000
_MINUTES, _QUICK_MINUTES = 21.0, 2.0
_PART = 5 * MiB
_PODS, _STREAMS = 4, 4
"""As a copy has them by default."""
_IDLE_SECONDS, _QUICK_IDLE_SECONDS = 120, 30
_LOOK = 30.0
"""Seconds between two looks at how far it is: each is a request for half a megabyte, though not the operator's."""
_LIMIT = 4 * 3600.0
_AFTERMATH = 30.0
"""Seconds in which the operator may give back what it no longer needs."""
_NAMESPACE = "multipartcopy-bench-ledger"


def run(minutes: float | None, *, quick: bool) -> Finding:
    """``minutes`` are what the bytes take; the starts of pods come to that."""
    parts = _QUICK_PARTS if quick else _PARTS
    minutes = minutes or (_QUICK_MINUTES if quick else _MINUTES)
    result = _measure(parts, minutes, _QUICK_IDLE_SECONDS if quick else _IDLE_SECONDS)
    about = {
        "object": f"{parts:,} parts of {_PART // MiB} MiB, all zeros, of a store without a disk",
        "workers": f"{_PODS} pods of {_STREAMS} streams at once, {result['batches']} in all",
        "time": f"{result['seconds'] / 60:.1f} minutes; idle before: {_IDLE_SECONDS} s",
        "rounds": "1",
    }
    return Finding(result, verdicts(result), {"The costs": table(result)}, about)


def _measure(parts: int, minutes: float, idle_seconds: float) -> Result:
    if lab.existing():
        raise PrerequisiteError(
            "the ledger bench needs the embedded cluster: it looks into its etcd"
        )
    place.fresh_operator()
    with ExitStack() as stack:
        namespace = stack.enter_context(place.namespace(_NAMESPACE))
        stack.enter_context(flows.counting())
        bench = _Bench(namespace, process.operator())
        rate = parts * _PART / (minutes * 60 * _PODS * _STREAMS)
        program = Path(bottomless.__file__)
        for name, pace in (("quick", 100 * MiB), ("bottomless", rate)):
            place.deploy_program(
                namespace, name, program, [f"--rate={pace:.0f}"], {"clients": 7070}
            )
        return bench.run(parts, idle_seconds)


@dataclass(frozen=True)
class _Bench:
    namespace: str
    operator: process.Process

    def run(self, parts: int, idle_seconds: float) -> Result:
        fresh = self.operator.use()
        say("ledger: a small copy first, so that what any copy loads is loaded")
        self._copy("small", "quick", 4, 60)
        self._remove("small")
        say(f"ledger: {idle_seconds:.0f} s of nothing")
        with etcd.watching(self.namespace) as tally:
            idle = [self._look()]
            time.sleep(idle_seconds)
            idle.append(self._look())
        say(f"ledger: {parts} parts")
        self.operator.forget_peak()
        with etcd.watching(self.namespace) as tally, self.operator.sampling() as samples:
            before = self._look()
            batches = self._copy("ledger", "bottomless", parts, _LIMIT)
            after = self._look()
            time.sleep(_AFTERMATH)
        body = lab.kubectl("get", "--raw", self._path("ledger"))
        if json.loads(body)["status"]["progress"]["partsDone"] != parts:
            raise lab.LabError("not every part is in the ledger")
        self._remove("ledger")
        return make_result(
            parts=parts,
            part_bytes=_PART,
            resource_bytes=len(body),
            batches=batches,
            idle=(idle[0], idle[1]),
            copy=(before, after),
            tally=tally,
            fresh=fresh,
            samples=samples,
        )

    def _look(self) -> Snapshot:
        return Snapshot(time.time(), etcd.counters(), flows.requests(), self.operator.use())

    def _copy(self, name: str, service: str, parts: int, seconds: float) -> int:
        """Until nothing is left of it but the resource; returns how many batches it had. Raises LabError."""
        endpoint = f"http://{service}.{self.namespace}.svc:7070"
        resource = place.copy_of(
            name,
            (endpoint, bottomless.BUCKET, str(parts * _PART)),
            (endpoint, "bench", name),
            partSize="5Mi",
            parallelism=_PODS,
            worker={"streams": _STREAMS, "resources": place.LIGHT},
        )
        lab.apply(resource, namespace=self.namespace)
        ended = lab.wait_until(f"{name}: an end", lambda: self._end(name), seconds, pause=_LOOK)
        if ended != "Succeeded":
            raise lab.LabError(f"{name} has {ended}: {self._said(name, 'conditions[0].message')}")
        children = ("jobs,pods", "--namespace", self.namespace, "--selector=multipartcopy.dev/uid")
        lab.wait_until("nothing left of the run", lambda: not lab.get(*children)["items"], 120)
        return int(self._said(name, "plan.batchCount"))

    def _end(self, name: str) -> str:
        """Its last phase, empty while it is under way."""
        phase, parts = self._said(name, "phase"), self._said(name, "progress.parts")
        say(f"  {phase} {parts}")
        return phase if phase in ("Succeeded", "Failed") else ""

    def _said(self, name: str, field: str) -> str:
        where = ("--namespace", self.namespace, "mpc", name)
        return lab.kubectl("get", *where, f"--output=jsonpath={{.status.{field}}}")

    def _path(self, name: str) -> str:
        group = "/apis/multipartcopy.dev/v1alpha1"
        return f"{group}/namespaces/{self.namespace}/multipartcopies/{name}"

    def _remove(self, name: str) -> None:
        lab.kubectl("delete", "mpc", name, "--namespace", self.namespace, timeout=70)
