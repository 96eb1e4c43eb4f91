"""Copies of 1 MiB and bare Jobs in turns, each from the request to its condition."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from typing import Any

import kubernetes

from dev import lab
from dev.bench import place
from dev.bench.latency.figures import (
    BARE,
    COMPLETE,
    COPY,
    Result,
    family,
    make_result,
    table,
    timeline,
    verdicts,
)
from dev.bench.report import Finding
from dev.bench.stage import MiB
from dev.bench.watch import Watch, watching
from dev.cluster.console import say

_LIMIT = 60.0
_RESOURCES = {
    COPY: ("multipartcopy.dev", "v1alpha1", "multipartcopies"),
    BARE: ("batch", "v1", "jobs"),
}
_KINDS = {COPY: "MultipartCopy", BARE: "Job"}


def run(rounds: int) -> Finding:
    result = _measure(rounds)
    about = {"object": "1 MiB", "rounds": f"{rounds}, and one before them that is not counted"}
    return Finding(result, verdicts(result), {"The timeline": table(result)}, about)


def _measure(rounds: int) -> Result:
    place.fresh_operator()
    with ExitStack() as stack:
        namespace = stack.enter_context(place.namespace("multipartcopy-bench-latency"))
        for name in ("source", "destination"):
            lab.deploy_s3(namespace, name, os.environ["S3_IMAGE"])
            url = stack.enter_context(lab.reach(namespace, name, 7070))
            client = lab.s3_client(url)
            client.create_bucket(Bucket="bench")
            if name == "source":
                client.put_object(Bucket="bench", Key="small", Body=os.urandom(MiB))
        # The library has read the environment when it was imported, before there was a cluster.
        kubernetes.config.load_kube_config(os.environ.get("KUBECONFIG"))  # type: ignore[no-untyped-call]
        watch = stack.enter_context(watching(namespace, "MultipartCopy", "Job", "Pod"))
        bench = _Bench(namespace, watch)
        say(f"latency: 1 MiB, {rounds} rounds")
        bench.round(-1)  # connections, caches, the operator's first client of a store: not counted
        return make_result([bench.round(number) for number in range(rounds)])


class _Bench:
    def __init__(self, namespace: str, watch: Watch) -> None:
        self._namespace = namespace
        self._watch = watch
        self._api = kubernetes.client.CustomObjectsApi()

    def round(self, number: int) -> dict[str, dict[str, float]]:
        """One of each, in turns the one or the other first."""
        order = (COPY, BARE) if number % 2 == 0 else (BARE, COPY)
        found = {what: self._one(what, f"{what}-{number + 1}") for what in order}
        times = ", ".join(f"{what} {found[what][COMPLETE]:.2f} s" for what in (COPY, BARE))
        say(f"  round {number + 1}: {times}")
        return found

    def _one(self, what: str, name: str) -> dict[str, float]:
        body = self._copy(name) if what == COPY else _bare_job(name)
        group, version, plural = _RESOURCES[what]
        start = time.time()
        self._api.create_namespaced_custom_object(group, version, self._namespace, plural, body)
        self._watch.wait(
            f"{name}: Complete",
            lambda seen: (seen.kind, seen.name) == (_KINDS[what], name) and seen.holds("Complete"),
            _LIMIT,
        )
        seen = family(self._watch.of(start), name)
        lab.kubectl("delete", _KINDS[what], name, "--namespace", self._namespace, timeout=70)
        lab.wait_until("no pod", lambda: not self._pods(), 60)
        return timeline(what, start, seen)

    def _pods(self) -> list[Any]:
        where = ("--namespace", self._namespace, "--selector=batch.kubernetes.io/job-name")
        return list(lab.get("pods", *where)["items"])

    def _copy(self, name: str) -> dict[str, Any]:
        def end(service: str, key: str) -> tuple[str, str, str]:
            return f"http://{service}.{self._namespace}.svc:7070", "bench", key

        return place.copy_of(name, end("source", "small"), end("destination", name))


def _bare_job(name: str) -> dict[str, Any]:
    """The least that an Indexed Job of one pod of the same image can be: Python starts, and ends."""
    container = {
        "name": "bare",
        "image": os.environ["IMAGE"],
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", "pass"],
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "containers": [container],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"completionMode": "Indexed", "completions": 1, "template": {"spec": pod}},
    }
