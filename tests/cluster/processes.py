"""The processes that die: the operator and its workers, killed as no signal handler can see."""

import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

from dev import lab

_DEPLOYMENT = "deployment/multipartcopy-operator"
_IN_SYSTEM = ("--namespace", lab.SYSTEM)
_AT_ONCE = ("--force", "--grace-period=0")


class Operator:
    """The operator's process. ``tally`` counts what was done to whom, for the summary."""

    def __init__(self, tally: Counter[str]) -> None:
        self._tally = tally

    def kill(self) -> None:
        """SIGKILL. A new pod takes over: the kubelet would restart the old one later and later."""
        self._tally["kills of the operator"] += 1
        names = [pod["metadata"]["name"] for pod in self.pods()]
        assert names, "there is no operator to kill"
        if not lab.existing():
            _kill(_processes("multipartcopy", "operator"), signal.SIGKILL)
        lab.kubectl(*_IN_SYSTEM, "delete", "pod", *_AT_ONCE, "--ignore-not-found", *names)

    def pods(self) -> list[dict[str, Any]]:
        selector = "--selector=app.kubernetes.io/component=operator"
        return list(lab.get(*_IN_SYSTEM, "pods", selector)["items"])

    def scale(self, replicas: int) -> None:
        lab.kubectl(*_IN_SYSTEM, "scale", _DEPLOYMENT, f"--replicas={replicas}")
        if replicas:
            self.wait()
        else:
            lab.wait_until("no operator left", lambda: not self.pods(), 60)

    def wait(self) -> None:
        """Until as many are ready as there should be."""
        lab.kubectl(*_IN_SYSTEM, "rollout", "status", _DEPLOYMENT, "--timeout=120s", timeout=130)

    def patch(self, *operations: dict[str, Any]) -> None:
        """A JSON-patch of the Deployment, which replaces the pod; returns when the new one is ready."""
        patch = json.dumps(operations)
        lab.kubectl(*_IN_SYSTEM, "patch", _DEPLOYMENT, "--type=json", f"--patch={patch}")
        self.wait()

    def metrics(self) -> str:
        """As Prometheus would read them, from the one pod there is."""
        (pod,) = self.pods()
        where = f"/api/v1/namespaces/{lab.SYSTEM}/pods/{pod['metadata']['name']}:8081/proxy/metrics"
        return lab.kubectl("get", "--raw", where)

    def wait_named(self, upload: str) -> None:
        """Until an upload that is left is named where the operator lives: in an Event, its log, a metric."""

        def named() -> bool:
            events = lab.get(*_IN_SYSTEM, "events", "--field-selector=reason=UploadLeftBehind")
            return any(upload in event["message"] for event in events["items"])

        lab.wait_until(f"an Event that names {upload}", named, 90)
        (log,) = self.logs().values()
        assert f"multipart upload {upload} of" in log
        metric = [line for line in self.metrics().splitlines() if f'upload_id="{upload}"' in line]
        assert len(metric) == 1
        assert metric[0].startswith("multipartcopy_upload_left_behind{")

    def template(self) -> dict[str, Any]:
        """Of its pods, to be set again."""
        deployment = lab.get(*_IN_SYSTEM, _DEPLOYMENT)
        return dict(deployment["spec"]["template"])

    def set_template(self, template: dict[str, Any]) -> None:
        self.patch({"op": "replace", "path": "/spec/template", "value": template})

    def logs(self) -> dict[str, str]:
        """By pod, of those there are."""
        names = [pod["metadata"]["name"] for pod in self.pods()]
        return {name: lab.kubectl(*_IN_SYSTEM, "logs", name) for name in names}


def kill_worker(pod: dict[str, Any], namespace: str, how: signal.Signals = signal.SIGKILL) -> None:
    """A signal to a worker, from outside of its container."""
    if lab.existing():
        name = pod["metadata"]["name"]
        grace = _AT_ONCE if how is signal.SIGKILL else ("--wait=false",)
        lab.kubectl("--namespace", namespace, "delete", "pod", name, *grace)
        return
    uid = pod["metadata"]["uid"]
    pids = [pid for pid in _processes("multipartcopy", "worker") if uid in _cgroup(pid)]
    assert pids, f"no process of pod {uid}"
    _kill(pids, how)


def _kill(pids: list[int], how: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, how)


def _processes(*last: str) -> list[int]:
    """Whose command line ends with these words, perhaps followed by flags."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_text().split("\0")
        except OSError:
            continue
        if "python" in words[0] and all(word in words for word in last) and "-m" in words:
            found.append(int(path.parent.name))
    return found


def _cgroup(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text().replace("_", "-")
    except OSError:
        return ""
