"""An API server with the Job controller, the garbage collector and the kubelets, as far as the operator sees them."""

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from multipartcopy.api import names
from multipartcopy.api.task import Task, decode_task
from multipartcopy.kube import ConflictError, KubeError, NotFoundError
from multipartcopy.reconcile.facts import format_time
from tests.model.schema import refusals

Body = dict[str, Any]

MESSAGE_LIMIT = 4096
"""Of what a kubelet keeps of a termination message: its end."""


@dataclass
class Run:
    """What the Job controller knows of one Job."""

    succeeded: set[int] = field(default_factory=set)
    given_up: set[int] = field(default_factory=set)
    failures: Counter[int] = field(default_factory=Counter)
    counted: set[str] = field(default_factory=set)
    """UIDs of the pods whose end it has seen."""
    failing: bool = False


@dataclass
class Node:
    """What runs in one pod, whatever the API server says of it."""

    task: Task
    index: int
    message: bytes = b""
    sending: bool = False
    done: dict[int, tuple[str, int | None]] = field(default_factory=dict)
    """ETag and CRC by part number."""
    flips: bool = False
    """A bit of each part that it receives."""
    code: int = 0
    """With which it would end now."""


class Cluster:
    """One namespace. ``changed`` hears of each write of a status, with the old and the new."""

    def __init__(self, now: Callable[[], datetime], changed: Callable[[Body, Body], None]) -> None:
        self.now = now
        self._changed = changed
        self.copies: dict[str, Body] = {}
        self.jobs: dict[str, Body] = {}
        self.pods: dict[str, Body] = {}
        self.secrets: dict[str, dict[str, str]] = {}
        self.events: list[Body] = []
        self.runs: dict[str, Run] = {}
        self.nodes: dict[str, Node] = {}
        """By pod UID; a node that is cut off is still here when the pod is not."""
        self.refuses_pods = False
        self._serial = itertools.count(1)

    # What the operator asks for: the interface of kube.Kube, at the server's side of the wire.

    def get_copy(self, name: str) -> Body:
        if name not in self.copies:
            raise NotFoundError(404, f"no {name}")
        return _copied(self.copies[name])

    def list_copies(self) -> list[Body]:
        return [_copied(body) for body in self.copies.values()]

    def patch_copy(self, name: str, patch: list[Body]) -> None:
        body = self._patched(name, patch)
        body["status"] = self.copies[name]["status"]
        self._store(name, body)

    def patch_copy_status(self, name: str, patch: list[Body]) -> None:
        old = self.get_copy(name)
        body = self._patched(name, patch)
        if wrong := refusals(old["status"], body["status"]):
            raise KubeError(422, f"is invalid: {'; '.join(wrong)}")
        if self._store(name, old | {"status": body["status"]}):
            self._changed(old["status"], body["status"])

    def delete_copy(self, name: str, uid: str | None = None) -> None:
        body = self.get_copy(name)
        if uid and body["metadata"]["uid"] != uid:
            raise ConflictError(409, "another UID")
        body["metadata"].setdefault("deletionTimestamp", format_time(self.now()))
        self._store(name, body)

    def list_jobs(self, uid: str) -> list[Body]:
        return [_copied(job) for job in self.jobs.values() if _of(job, uid)]

    def list_pods(self, uid: str) -> list[Body]:
        return [_copied(pod) for pod in self.pods.values() if _of(pod, uid)]

    def create_job(self, manifest: Body) -> None:
        name = manifest["metadata"]["name"]
        if name in self.jobs:
            return
        job = _copied(manifest)
        job["metadata"] |= {"uid": self._new("job"), "resourceVersion": self._version()}
        job["status"] = {}
        self.jobs[name] = job
        self.runs[job["metadata"]["uid"]] = Run()

    def set_parallelism(self, name: str, parallelism: int) -> None:
        if name not in self.jobs:
            raise NotFoundError(404, f"no Job {name}")
        self.jobs[name]["spec"]["parallelism"] = parallelism

    def delete_job(self, name: str) -> None:
        if name in self.jobs:
            self.jobs[name]["metadata"].setdefault("deletionTimestamp", format_time(self.now()))

    def get_secret(self, name: str) -> dict[str, str]:
        if name not in self.secrets:
            raise NotFoundError(404, f"no Secret {name}")
        return dict(self.secrets[name])

    def list_warnings(self, uid: str) -> list[Body]:
        refused = self.refuses_pods and any(j["metadata"]["uid"] == uid for j in self.jobs.values())
        return [{"reason": "FailedCreate", "message": "exceeded quota"}] if refused else []

    def create_event(self, event: Body) -> None:
        self.events.append(event)

    # What its users do.

    def create_copy(self, name: str, spec: Body) -> str:
        uid = self._new("copy")
        self.copies[name] = {
            "metadata": {
                "name": name,
                "namespace": "default",
                "uid": uid,
                "generation": 1,
                "resourceVersion": self._version(),
                "creationTimestamp": format_time(self.now()),
            },
            "spec": spec,
            "status": {"observedGeneration": -1},
        }
        return uid

    def change_spec(self, name: str, **changes: Any) -> None:
        if name in self.copies:
            body = self.get_copy(name)
            body["spec"] |= changes
            if self._store(name, body):
                self.copies[name]["metadata"]["generation"] += 1

    def annotate(self, name: str, annotation: str, value: str) -> None:
        if name in self.copies:
            body = self.get_copy(name)
            body["metadata"].setdefault("annotations", {})[annotation] = value
            self._store(name, body)

    def edit_status(self, name: str, edit: Callable[[Body], Body]) -> bool:
        """By hand; whether the API server took it."""
        if name not in self.copies:
            return False
        body = self.get_copy(name)
        status = edit(_copied(body["status"]))
        if refusals(body["status"], status):
            return False
        return self._store(name, body | {"status": status})

    # What the controllers do.

    def sync(self) -> None:
        """One round of the Job controller and of the garbage collector."""
        for name, job in list(self.jobs.items()):
            owner = job["metadata"]["ownerReferences"][0]["uid"]
            if all(copy["metadata"]["uid"] != owner for copy in self.copies.values()):
                self.delete_job(name)
            if "deletionTimestamp" in job["metadata"]:
                for pod in self._pods_of(job):
                    self.delete_pod(pod["metadata"]["name"])
                if not self._pods_of(job):
                    del self.jobs[name]
            elif not job["status"].get("conditions"):
                self._sync_job(job)

    def _sync_job(self, job: Body) -> None:
        run, spec = self.runs[job["metadata"]["uid"]], job["spec"]
        for pod in self._pods_of(job):
            self._count(run, spec, pod)
        live = [pod for pod in self._pods_of(job) if not ended(pod)]
        if run.failing:
            for pod in live:
                self.delete_pod(pod["metadata"]["name"])
        left = set(range(spec["completions"])) - run.succeeded - run.given_up
        if not live and (run.failing or not left):
            good = not run.failing and not run.given_up
            kind = "Complete" if good else "Failed"
            job["status"]["conditions"] = [{"type": kind, "status": "True"}]
            return
        if run.failing or self.refuses_pods:
            return
        busy = {_index(pod) for pod in live}
        for index in sorted(left - busy)[: max(0, spec["parallelism"] - len(busy))]:
            self._make_pod(job, index)

    def _count(self, run: Run, spec: Body, pod: Body) -> None:
        """An ended pod, by the rules of ``podFailurePolicy``, whose order this is."""
        uid = pod["metadata"]["uid"]
        if not ended(pod) or uid in run.counted:
            return
        run.counted.add(uid)
        if pod["status"]["phase"] == "Succeeded":
            run.succeeded.add(_index(pod))
        elif _exit_code(pod) == names.EXIT_PERMANENT:
            run.failing = True
        elif not any(c["type"] == "DisruptionTarget" for c in pod["status"].get("conditions", [])):
            run.failures[_index(pod)] += 1
            actions = {rule["action"] for rule in spec["podFailurePolicy"]["rules"]}
            killed = _exit_code(pod) == names.EXIT_KILLED and "FailIndex" in actions
            if killed or run.failures[_index(pod)] > spec["backoffLimitPerIndex"]:
                run.given_up.add(_index(pod))

    def _make_pod(self, job: Body, index: int) -> None:
        template = job["spec"]["template"]
        uid = self._new("pod")
        self.pods[uid] = {
            "metadata": {
                "name": uid,
                "uid": uid,
                "labels": dict(template["metadata"]["labels"]),
                "annotations": {"batch.kubernetes.io/job-completion-index": str(index)},
                "ownerReferences": [{"uid": job["metadata"]["uid"]}],
            },
            "spec": _copied(template["spec"]),
            "status": {"phase": "Pending"},
        }
        environment = template["spec"]["containers"][0]["env"]
        task = next(e["value"] for e in environment if e["name"] == names.TASK_VARIABLE)
        self.nodes[uid] = Node(decode_task(task), index)

    def delete_pod(self, name: str) -> None:
        """Asked for; one that has ended goes at once, the kubelet has to end any other."""
        pod = self.pods.get(name)
        if pod is None:
            return
        if ended(pod):
            job = next((j for j in self.jobs.values() if pod in self._pods_of(j)), None)
            if job:
                self._count(self.runs[job["metadata"]["uid"]], job["spec"], pod)
            del self.pods[name]
        else:
            pod["metadata"].setdefault("deletionTimestamp", format_time(self.now()))

    # What a kubelet says.

    def started(self, name: str) -> None:
        self.nodes[name].sending = True
        self.pods[name]["status"] = {
            "phase": "Running",
            "containerStatuses": [{"name": "worker", "state": {"running": {}}}],
        }

    def stopped(self, name: str, code: int, reason: str = "Error", keep: int | None = None) -> None:
        """The container's end; of its message the last ``keep`` bytes."""
        node = self.nodes.pop(name)
        limit = MESSAGE_LIMIT if keep is None else keep
        ended = {
            "exitCode": code,
            "reason": reason,
            "message": node.message[max(0, len(node.message) - limit) :].decode(),
            "finishedAt": format_time(self.now()),
        }
        self.pods[name]["status"] |= {
            "phase": "Failed" if code else "Succeeded",
            "containerStatuses": [{"name": "worker", "state": {"terminated": ended}}],
        }

    def disrupted(self, name: str) -> None:
        mark = {"type": "DisruptionTarget", "status": "True", "message": "evicted by the model"}
        self.pods[name]["status"]["conditions"] = [mark]

    def declared_dead(self, name: str) -> None:
        """By others, since its node does not answer: what runs there runs on."""
        self.disrupted(name)
        self.pods[name]["status"] |= {"phase": "Failed", "containerStatuses": []}

    def _pods_of(self, job: Body) -> list[Body]:
        uid = job["metadata"]["uid"]
        return [p for p in self.pods.values() if p["metadata"]["ownerReferences"][0]["uid"] == uid]

    def _patched(self, name: str, patch: list[Body]) -> Body:
        body = self.get_copy(name)
        for operation in patch:
            *path, last = operation["path"].split("/")[1:]
            place = body
            for step in path:
                place = place[step]
            match operation["op"]:
                case "test":
                    if place[last] != operation["value"]:
                        raise ConflictError(422, "the test of the patch failed")
                case "remove":
                    del place[last]
                case _:
                    place[last] = _copied(operation["value"])
        return body

    def _store(self, name: str, body: Body) -> bool:
        """Whether it is news."""
        if body == self.copies[name]:
            return False
        meta = body["metadata"]
        meta["resourceVersion"] = self._version()
        self.copies[name] = body
        if "deletionTimestamp" in meta and not meta.get("finalizers"):
            del self.copies[name]
        return True

    def _version(self) -> str:
        return str(next(self._serial))

    def _new(self, word: str) -> str:
        return f"{word}-{next(self._serial)}"


class Kube:
    """In the place of ``kube.Kube``, by way of the wire of one process: ``call(name, serve)``."""

    def __init__(self, cluster: Cluster, call: Callable[[str, Callable[[], Any]], Any]) -> None:
        self._cluster = cluster
        self._call = call

    def get_copy(self, namespace: str, name: str) -> Body:
        return self._call("get_copy", lambda: self._cluster.get_copy(name))

    def list_copies(self) -> Iterator[Body]:
        yield from self._call("list_copies", self._cluster.list_copies)

    def patch_copy(self, namespace: str, name: str, patch: list[Body]) -> None:
        self._call("patch_copy", lambda: self._cluster.patch_copy(name, patch))

    def patch_copy_status(self, namespace: str, name: str, patch: list[Body]) -> None:
        self._call("patch_copy_status", lambda: self._cluster.patch_copy_status(name, patch))

    def delete_copy(self, namespace: str, name: str, uid: str) -> None:
        self._call("delete_copy", lambda: self._cluster.delete_copy(name, uid))

    def list_jobs(self, namespace: str, uid: str) -> list[Body]:
        return self._call("list_jobs", lambda: self._cluster.list_jobs(uid))

    def list_pods(self, namespace: str, uid: str) -> list[Body]:
        return self._call("list_pods", lambda: self._cluster.list_pods(uid))

    def create_job(self, namespace: str, manifest: Body) -> None:
        self._call("create_job", lambda: self._cluster.create_job(manifest))

    def set_parallelism(self, namespace: str, job: str, parallelism: int) -> None:
        self._call("set_parallelism", lambda: self._cluster.set_parallelism(job, parallelism))

    def delete_job(self, namespace: str, job: str) -> None:
        self._call("delete_job", lambda: self._cluster.delete_job(job))

    def get_secret(self, namespace: str, name: str, wanted_type: str | None) -> dict[str, str]:
        return self._call("get_secret", lambda: self._cluster.get_secret(name))

    def list_warnings(self, namespace: str, uid: str) -> list[Body]:
        return self._call("list_warnings", lambda: self._cluster.list_warnings(uid))

    def create_event(self, namespace: str, event: Body) -> None:
        self._call("create_event", lambda: self._cluster.create_event(event))


def ended(pod: Body) -> bool:
    return pod["status"]["phase"] in ("Succeeded", "Failed")


def _exit_code(pod: Body) -> int | None:
    states = [c["state"] for c in pod["status"].get("containerStatuses", [])]
    return next((s["terminated"]["exitCode"] for s in states if "terminated" in s), None)


def _index(pod: Body) -> int:
    return int(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"])


def _of(body: Body, uid: str) -> bool:
    return body["metadata"]["labels"].get(names.LABEL_UID) == uid


def _copied(body: Any) -> Any:
    return json.loads(json.dumps(body))
