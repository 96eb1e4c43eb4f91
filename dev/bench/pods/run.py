"""Copies by 1, 2, 4, 8 and 16 pods, from a store that gives each connection so much and no more."""

from __future__ import annotations

import hashlib
import json
import os
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boto3.s3.transfer import TransferConfig

from dev import lab
from dev.bench import place
from dev.bench.pods import throttle
from dev.bench.pods.figures import Row, Sample, Traffic, flow, make_rows, table, verdicts
from dev.bench.report import Finding
from dev.bench.stage import MiB, RandomContent
from dev.bench.watch import Watch, watching
from dev.cluster.console import say

_PODS, _QUICK_PODS = (1, 2, 4, 8, 16), (1, 4)
STREAMS = 2
RATE = MiB
"""Bytes a second for each connection to the source."""
_PART = 5 * MiB
_PARTS_OF_A_POD = 12
"""Half a minute."""
_LIMIT = 240.0


def run(rounds: int, *, quick: bool) -> Finding:
    rows = _measure(rounds, _QUICK_PODS if quick else _PODS)
    about = {
        "source": f"{RATE / MiB:g} MiB/s for each connection, {STREAMS} streams a pod",
        "object": f"{_object_size(1) // MiB} MiB for each pod, in parts of {_PART // MiB} MiB",
        "rounds": str(rounds),
    }
    right = all(row["sha256_ok"] for row in rows)
    return Finding({"rows": rows}, verdicts(rows), {"The rows": table(rows)}, about, right)


def _measure(rounds: int, pods: Sequence[int]) -> list[Row]:
    place.fresh_operator()
    with ExitStack() as stack:
        namespace = stack.enter_context(place.namespace("multipartcopy-bench-pods"))
        bench = _prepare(stack, namespace, pods)
        say(f"pods: {max(pods) * _object_size(1) // MiB} MiB and less, {rounds} rounds")
        done: list[dict[int, Sample]] = []
        for number in range(rounds):
            order = list(pods)[:: 1 if number % 2 == 0 else -1]
            done.append({count: bench.copy(number, count) for count in order})
    return make_rows(done)


def _prepare(stack: ExitStack, namespace: str, pods: Sequence[int]) -> _Bench:
    for name in ("source", "destination"):
        lab.deploy_s3(namespace, name, os.environ["S3_IMAGE"])
    place.deploy_program(
        *(namespace, "throttle", Path(throttle.__file__)),
        ["--upstream=source:7070", f"--rate={RATE}"],
        {"clients": 7070, "control": 9000},
    )

    def reach(service: str, port: int) -> str:
        return stack.enter_context(lab.reach(namespace, service, port))

    source, destination = (lab.s3_client(reach(s, 7070)) for s in ("source", "destination"))
    source.create_bucket(Bucket="bench")
    destination.create_bucket(Bucket="bench")
    digests = {count: _fill(source, count) for count in pods}
    watch = stack.enter_context(watching(namespace, "MultipartCopy"))
    return _Bench(namespace, destination, reach("throttle", 9000), watch, digests)


def _object_size(pods: int) -> int:
    """Of the object that so many pods copy: the same for each pod, so that each point takes as long."""
    return pods * _PARTS_OF_A_POD * _PART


def _fill(source: Any, pods: int) -> str:
    content = RandomContent(_object_size(pods))
    config = TransferConfig(multipart_chunksize=16 * MiB, use_threads=False)
    source.upload_fileobj(content, "bench", f"for-{pods}", Config=config)
    return content.digest.hexdigest()


@dataclass(frozen=True)
class _Bench:
    namespace: str
    destination: Any
    control: str
    watch: Watch
    digests: dict[int, str]

    def copy(self, number: int, pods: int) -> Sample:
        """One round's copy by so many pods. Raises LabError, TooShortError."""
        name, size = f"copy-{number}-{pods}", _object_size(pods)
        self._ask("DELETE")
        cpu, start = _cpu_times(), time.time()
        lab.apply(self._resource(name, pods), namespace=self.namespace)
        ended = self.watch.wait(
            f"the end of {name}",
            lambda seen: seen.name == name and (seen.holds("Complete") or seen.holds("Failed")),
            _LIMIT,
        )
        busy = _busy(cpu, _cpu_times())
        if ended.holds("Failed"):
            raise lab.LabError(f"{name}: {ended.body['status']['conditions'][0]['message']}")
        copying = self.watch.wait(
            f"{name}: Copying",
            lambda seen: seen.name == name and seen.body["status"].get("phase") == "Copying",
            1,
        )
        seen = flow(self._ask("GET"), pods, _PART)
        right = self._sha256(name) == self.digests[pods]
        self._remove(name)
        rate = f"{seen.bytes_per_second / MiB:.2f} MiB/s for {seen.seconds:.1f} s"
        say(f"  round {number + 1}, {pods} pods: {rate}, Complete after {ended.at - start:.1f} s")
        return Sample(pods, size, seen, seen.end - copying.at, ended.at - start, busy, right)

    def _resource(self, name: str, pods: int) -> dict[str, Any]:
        return place.copy_of(
            name,
            (f"http://throttle.{self.namespace}.svc:7070", "bench", f"for-{pods}"),
            (f"http://destination.{self.namespace}.svc:7070", "bench", name),
            partSize="5Mi",
            parallelism=pods,
            worker={"streams": STREAMS, "resources": place.LIGHT},
        )

    def _ask(self, method: str) -> Traffic:
        request = urllib.request.Request(f"{self.control}/traffic", method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return [(slot, client, count) for slot, client, count in json.load(answer)]

    def _sha256(self, key: str) -> str:
        digest = hashlib.sha256()
        body = self.destination.get_object(Bucket="bench", Key=key)["Body"]
        for piece in body.iter_chunks(MiB):
            digest.update(piece)
        return digest.hexdigest()

    def _remove(self, name: str) -> None:
        lab.kubectl("delete", "mpc", name, "--namespace", self.namespace, timeout=70)
        self.destination.delete_object(Bucket="bench", Key=name)
        where = ("--namespace", self.namespace, "pods", "--selector=multipartcopy.dev/uid")
        lab.wait_until("no pod of the copy", lambda: not lab.get(*where)["items"], 60)


def _cpu_times() -> list[int]:
    """Of the machine, in ticks: user, nice, system, idle, iowait and so on."""
    return [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]


def _busy(before: Sequence[int], after: Sequence[int]) -> float:
    spent = [b - a for a, b in zip(before, after, strict=True)]
    return 1 - (spent[3] + spent[4]) / sum(spent)
