"""As much of a cluster as one copy needs, in this process: the real controller over an API server made of
dicts, whose Jobs run the real worker as processes.

The rules of Indexed Jobs that matter here: ``backoffLimitPerIndex``, the pod failure policy (42 fails the
Job, a disruption counts against nothing), deletion in the foreground. Pauses are shortened, and nothing else.
"""

import asyncio
import contextlib
import copy
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

from botocore.retries.standard import ExponentialBackoff

from dev.servers import LOOPBACK
from multipartcopy.api import names
from multipartcopy.jobs import Image
from multipartcopy.kube import ConflictError, KubeError, NotFoundError, TooLargeError
from multipartcopy.reconcile import controller as controllers
from multipartcopy.reconcile.act import Effects
from multipartcopy.reconcile.facts import Limits
from multipartcopy.s3 import control
from multipartcopy.s3.guard import parse_guard

Object = dict[str, Any]

OPERATOR = Path(__file__).parents[2] / "operator"
IMPATIENT_WORKER = """
import os
from multipartcopy.worker.main import Patience, main
patience = Patience(tries=3, grace=0, pause=0.01, silence=3, answer=3, chunk=12, copy=3)
os._exit(main(os.environ, patience))
"""
IMPATIENT = Limits(
    denied_runs=2,
    denied_grace_seconds=5,
    abort_grace_seconds=60,
    retry_seconds=(0.01,) * 8,
)
NAMESPACE = "default"
_PAUSES = 0.05
"""What is left of a pause of the controller."""
_READ_TIMEOUT = 4
_MESSAGE_LIMIT = 4096
_LOOK = 0.01


@contextlib.contextmanager
def shortened() -> Iterator[None]:
    """The operator's pauses between passes, and botocore's between tries; time-outs of seconds."""
    sleep, client = controllers._sleep, control._client

    async def shorter(wake: asyncio.Event, seconds: float) -> None:
        await sleep(wake, seconds * _PAUSES)

    def impatient(*args: Any, attempts: int, timeouts: tuple[int, float]) -> Any:
        return client(*args, attempts=attempts, timeouts=(_READ_TIMEOUT, timeouts[1]))

    with (
        mock.patch.object(controllers, "_sleep", shorter),
        mock.patch.object(control, "_client", impatient),
        mock.patch.object(ExponentialBackoff, "delay_amount", return_value=0.02),
    ):
        yield


@dataclass
class WorkerPod:
    """A pod and the process in it."""

    body: Object
    index: int
    process: "subprocess.Popen[bytes]"
    report: Path
    deleted: bool = False
    evicted: bool = False

    @property
    def name(self) -> str:
        return str(self.body["metadata"]["name"])

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)


@dataclass
class Cluster:
    """The API server, the Job controller and the kubelet. ``directory`` holds what pods have mounted."""

    directory: Path
    program: str = IMPATIENT_WORKER
    message: Callable[[str, str], str] = lambda _pod, text: text
    """The termination message that the kubelet tells of a pod, of the one that it wrote."""
    too_large: Callable[[Object], bool] = lambda _status: False
    """Whether etcd refuses a resource with this status."""
    copies: dict[str, Object] = field(default_factory=dict)
    jobs: dict[str, Object] = field(default_factory=dict)
    pods: dict[str, WorkerPod] = field(default_factory=dict)
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    events: list[Object] = field(default_factory=list)
    watches: list[Callable[[str, Object], None]] = field(default_factory=list)
    _version: int = 0
    _lock: Any = field(default_factory=threading.RLock)
    _threads: list[threading.Thread] = field(default_factory=list)
    _closed: bool = False

    # For the tests.

    def create(self, name: str, spec: Object) -> str:
        """A MultipartCopy; returns its UID."""
        meta = {"name": name, "namespace": NAMESPACE, "uid": str(uuid.uuid4()), "generation": 1}
        meta["creationTimestamp"] = _now()
        with self._lock:
            self.copies[name] = {"metadata": meta, "spec": spec}
            self._changed("copy", self.copies[name])
        return str(meta["uid"])

    def annotate(self, name: str, annotation: str, value: str) -> None:
        with self._lock:
            body = self.copies[name]
            body["metadata"].setdefault("annotations", {})[annotation] = value
            self._changed("copy", body)

    def change_spec(self, name: str, **fields: Any) -> None:
        with self._lock:
            body = self.copies[name]
            body["spec"] |= fields
            body["metadata"]["generation"] += 1
            self._changed("copy", body)

    def status(self, name: str) -> Object:
        with self._lock:
            return copy.deepcopy(self.copies[name].get("status", {}))

    def condition(self, name: str) -> Object:
        """What the resource says: all its conditions share reason and message."""
        return next(iter(self.status(name).get("conditions", [])), {})

    def told(self) -> set[str]:
        """Every reason of an Event so far."""
        with self._lock:
            return {event["reason"] for event in self.events}

    def running(self) -> list[WorkerPod]:
        with self._lock:
            return [pod for pod in self.pods.values() if pod.process.poll() is None]

    def close(self) -> None:
        self._closed = True
        for pod in self.running():
            pod.process.kill()
        for thread in self._threads:
            thread.join(20)

    # The API server, as multipartcopy.kube.Kube.

    def get_copy(self, namespace: str, name: str) -> Object:
        with self._lock:
            return copy.deepcopy(self._find(self.copies, name))

    def list_copies(self) -> Iterator[Object]:
        with self._lock:
            return iter(copy.deepcopy(list(self.copies.values())))

    def patch_copy(self, namespace: str, name: str, patch: list[Object]) -> Object:
        with self._lock:
            body = self._find(self.copies, name)
            _apply(body, patch)
            self._changed("copy", body)
            self._remove_if_free(name)
            return copy.deepcopy(body)

    def patch_copy_status(self, namespace: str, name: str, patch: list[Object]) -> Object:
        with self._lock:
            body = self._find(self.copies, name)
            body.setdefault("status", {})
            changed = copy.deepcopy(body)
            _apply(changed, patch)
            if self.too_large(changed["status"]):
                raise TooLargeError(500, "etcdserver: request is too large")
            _apply(body, patch)
            self._changed("copy", body)
            return copy.deepcopy(body)

    def delete_copy(self, namespace: str, name: str, uid: str = "") -> None:
        with self._lock:
            body = self._find(self.copies, name)
            body["metadata"]["deletionTimestamp"] = _now()
            self._changed("copy", body)
            self._remove_if_free(name)

    def list_jobs(self, namespace: str, uid: str) -> list[Object]:
        with self._lock:
            return copy.deepcopy([job for job in self.jobs.values() if _belongs(job, uid)])

    def list_pods(self, namespace: str, uid: str) -> list[Object]:
        with self._lock:
            return copy.deepcopy([p.body for p in self.pods.values() if _belongs(p.body, uid)])

    def create_job(self, namespace: str, manifest: Object) -> None:
        with self._lock:
            name = manifest["metadata"]["name"]
            if name in self.jobs:
                return
            job = json.loads(json.dumps(manifest))
            job["metadata"]["uid"] = str(uuid.uuid4())
            job["status"] = {}
            self.jobs[name] = job
            self._changed("job", job)
        thread = threading.Thread(target=self._run_job, args=(job,), name=name)
        self._threads.append(thread)
        thread.start()

    def set_parallelism(self, namespace: str, job: str, parallelism: int) -> None:
        with self._lock:
            self._find(self.jobs, job)["spec"]["parallelism"] = parallelism

    def delete_job(self, namespace: str, job: str) -> None:
        with self._lock:
            if job in self.jobs:
                self.jobs[job]["metadata"].setdefault("deletionTimestamp", _now())
                self._changed("job", self.jobs[job])

    def get_secret(self, namespace: str, name: str, wanted_type: str | None) -> dict[str, str]:
        with self._lock:
            return dict(self._find(self.secrets, name))

    def list_warnings(self, namespace: str, uid: str) -> list[Object]:
        return []

    def create_event(self, namespace: str, event: Object) -> None:
        with self._lock:
            self.events.append(event)

    # The Job controller and the kubelet.

    def _run_job(self, job: Object) -> None:
        """Until the Job is finished and then deleted."""
        spec, meta = job["spec"], job["metadata"]
        failures = dict.fromkeys(range(spec["completions"]), 0)
        waiting, live = list(failures), list[WorkerPod]()
        failed = False
        while not self._closed:
            deleting = "deletionTimestamp" in meta
            ended = [pod for pod in live if pod.process.poll() is not None]
            for pod in ended:
                live.remove(pod)
                code = self._bury(pod)
                if code == names.EXIT_PERMANENT:
                    failed = True
                elif code and not pod.evicted:
                    failures[pod.index] += 1
                if code and failures[pod.index] <= spec["backoffLimitPerIndex"]:
                    waiting.append(pod.index)
            if deleting or failed:
                waiting.clear()
                for pod in live:
                    self._delete(pod)
            while waiting and len(live) < spec["parallelism"]:
                live.append(self._start(job, waiting.pop(0)))
            if deleting and not live:
                with self._lock:
                    for name in [n for n, p in self.pods.items() if _of_job(p.body, meta["name"])]:
                        del self.pods[name]
                    del self.jobs[meta["name"]]
                    self._changed("job", job)
                return
            if not (waiting or live or job["status"]):
                bad = failed or any(n > spec["backoffLimitPerIndex"] for n in failures.values())
                with self._lock:
                    kind = "Failed" if bad else "Complete"
                    job["status"] = {"conditions": [{"type": kind, "status": "True"}]}
                    self._changed("job", job)
            time.sleep(_LOOK)

    def _start(self, job: Object, index: int) -> WorkerPod:
        template, meta = job["spec"]["template"], job["metadata"]
        name = f"{meta['name']}-{index}-{uuid.uuid4().hex[:5]}"
        home = self.directory / name
        home.mkdir()
        environment = {
            "PYTHONPATH": str(OPERATOR),
            names.INDEX_VARIABLE: str(index),
            "MULTIPARTCOPY_SECRETS": str(self._mount(home, template["spec"]["volumes"])),
            "MULTIPARTCOPY_REPORT": str(home / "report"),
        }
        for variable in template["spec"]["containers"][0]["env"]:
            environment[variable["name"]] = variable["value"]
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", self.program], env=environment, stdout=log, stderr=log
            )
        body = {
            "metadata": {
                "name": name,
                "uid": str(uuid.uuid4()),
                "labels": {**template["metadata"]["labels"], "job-name": meta["name"]},
            },
            "spec": template["spec"],
            "status": {
                "phase": "Running",
                "containerStatuses": [{"name": "worker", "state": {"running": {}}}],
            },
        }
        pod = WorkerPod(body, index, process, home / "report")
        with self._lock:
            self.pods[name] = pod
            self._changed("pod", body)
        return pod

    def _mount(self, home: Path, volumes: list[Object]) -> Path:
        for volume in volumes:
            directory = home / "secrets" / volume["name"]
            directory.mkdir(parents=True)
            for source in volume["projected"]["sources"]:
                data = self.secrets[source["secret"]["name"]]
                every = [{"key": key, "path": key} for key in data]
                for item in source["secret"].get("items", every):
                    if item["key"] in data:
                        (directory / item["path"]).write_text(data[item["key"]])
        return home / "secrets"

    def _delete(self, pod: WorkerPod) -> None:
        if not pod.deleted:
            pod.deleted = True
            with self._lock:
                pod.body["metadata"]["deletionTimestamp"] = _now()
            pod.end()

    def _bury(self, pod: WorkerPod) -> int:
        """Record the end of the pod's container; returns its exit code."""
        status = pod.process.returncode
        code = 128 - status if status < 0 else status
        text = pod.report.read_text() if pod.report.exists() else ""
        with self._lock:
            pod.body["status"] = {
                "phase": "Failed" if code else "Succeeded",
                "containerStatuses": [
                    {
                        "name": "worker",
                        "state": {
                            "terminated": {
                                "exitCode": code,
                                "reason": "Error" if code else "Completed",
                                "message": self.message(pod.name, text)[-_MESSAGE_LIMIT:],
                                "finishedAt": _now(),
                            }
                        },
                    }
                ],
            }
            if pod.evicted:
                disruption = {"type": "DisruptionTarget", "status": "True", "message": "evicted"}
                pod.body["status"]["conditions"] = [disruption]
            self._changed("pod", pod.body)
            if pod.deleted:
                del self.pods[pod.name]
        if not os.environ.get("KEEP_PODS"):
            shutil.rmtree(pod.report.parent, ignore_errors=True)
        return code

    # Within.

    def _changed(self, kind: str, body: Object) -> None:
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        for watch in list(self.watches):
            watch(kind, copy.deepcopy(body))

    def _remove_if_free(self, name: str) -> None:
        meta = self.copies[name]["metadata"]
        if "deletionTimestamp" in meta and not meta.get("finalizers"):
            del self.copies[name]

    @staticmethod
    def _find(where: dict[str, Any], name: str) -> Any:
        if name not in where:
            raise NotFoundError(404, name)
        return where[name]


class Operator:
    """One process's worth of it: the real controller in a thread, fed by the cluster's watches."""

    def __init__(self, cluster: Cluster, limits: Limits = IMPATIENT) -> None:
        self._cluster = cluster
        self._leash = _Leash(cluster)
        image = Image("worker", allow_endpoints=LOOPBACK)
        guard = parse_guard(LOOPBACK)
        self._effects = Effects(self._leash, image, None, limits, guard=guard)  # type: ignore[arg-type]
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))
        self._thread.start()
        self._ready.wait()

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        self._loop, self._stop = loop, asyncio.Event()
        controller = controllers.Controller(self._leash, self._effects)  # type: ignore[arg-type]

        def watch(kind: str, body: Object) -> None:
            notice = controller.notice
            if kind != "copy":
                notice = functools.partial(controller.notice_child, pod=kind == "pod")
            with contextlib.suppress(RuntimeError):  # The loop is closed.
                loop.call_soon_threadsafe(notice, body)

        self._cluster.watches.append(watch)
        for body in self._cluster.list_copies():
            controller.notice(body)
        self._ready.set()
        await self._stop.wait()
        self._cluster.watches.remove(watch)
        await controller.stop(0 if self._leash.cut else 20)

    def stop(self) -> None:
        """As by SIGTERM: what is under way is finished and recorded."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(40)
        assert not self._thread.is_alive()

    def kill(self) -> None:
        """As by SIGKILL: from now on nothing of it reaches the API server. Its requests under way are the proxy's."""
        self._leash.cut = True
        self.stop()


class _Leash:
    """The way of one operator to the cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.cut = False

    def __getattr__(self, name: str) -> Any:
        if self.cut:
            raise KubeError(0, "this operator is dead")
        return getattr(self._cluster, name)


def _apply(body: Object, patch: list[Object]) -> None:
    """A JSON-patch, as far as it is used. Raises ConflictError where a test fails."""
    changed = copy.deepcopy(body)
    for operation in patch:
        *path, last = operation["path"].strip("/").split("/")
        at = changed
        for step in path:
            at = at[step]
        match operation["op"]:
            case "test":
                if at.get(last) != operation["value"]:
                    raise ConflictError(409, f"{operation['path']} is {at.get(last)}")
            case "remove":
                del at[last]
            case _:
                at[last] = operation["value"]
    body.clear()
    body.update(json.loads(json.dumps(changed)))


def _belongs(body: Object, uid: str) -> bool:
    return bool(body["metadata"]["labels"].get(names.LABEL_UID) == uid)


def _of_job(body: Object, job: str) -> bool:
    return bool(body["metadata"]["labels"]["job-name"] == job)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
