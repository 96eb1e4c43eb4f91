"""A real cluster with the operator in it, two real S3 servers, and a gate before each of them."""

import hashlib
import json
import os
import secrets
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dev import lab

MiB = 1 << 20
SIZE = 200 * MiB
GATE = Path(__file__).with_name("gate.py")


@dataclass
class Gate:
    """The test's end of gate.py."""

    url: str

    def hold(self, expression: str) -> None:
        self._ask("PUT", "/rule", expression)

    def held(self) -> list[str]:
        return self._ask("GET", "/held")

    def wait_held(self, seconds: float = 60) -> list[str]:
        return lab.wait_until("a request at the gate", self.held, seconds)

    def open(self, how: str = "forward") -> None:
        """No more holding; what is held is forwarded, or dropped."""
        self._ask("DELETE", "/rule")
        self._ask("PUT", "/release", how)

    def _ask(self, method: str, path: str, body: str = "") -> list[str]:
        request = urllib.request.Request(self.url + path, body.encode(), method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


@dataclass
class World:
    """One namespace with all that a copy needs. Objects: bucket ``src`` at a, ``dst`` at b."""

    namespace: str
    source: Any
    destination: Any
    source_gate: Gate
    destination_gate: Gate
    copies: list[str] = field(default_factory=list)

    def put(self, key: str, data: bytes) -> None:
        self.source.put_object(Bucket="src", Key=key, Body=data)

    def sha256(self, key: str) -> str:
        digest = hashlib.sha256()
        body = self.destination.get_object(Bucket="dst", Key=key)["Body"]
        for block in iter(lambda: body.read(4 * MiB), b""):
            digest.update(block)
        return digest.hexdigest()

    def exists(self, key: str) -> bool:
        return "Contents" in self.destination.list_objects_v2(Bucket="dst", Prefix=key)

    def uploads(self, key: str) -> list[str]:
        answer = self.destination.list_multipart_uploads(Bucket="dst", Prefix=key)
        return [upload["UploadId"] for upload in answer.get("Uploads", [])]

    def copy(
        self,
        name: str,
        key: str,
        *,
        to: str | None = None,
        namespace: str | None = None,
        **spec: Any,
    ) -> str:
        """Apply a MultipartCopy through the gates; ``secret``, ``bucket`` and the spec's fields override."""
        secret, bucket = spec.pop("secret", "s3"), spec.pop("bucket", "dst")

        def side(service: str, where: str, what: str) -> dict[str, Any]:
            endpoint = f"http://{service}.{self.namespace}.svc:7070"
            location = {"endpoint": endpoint, "bucket": where, "key": what}
            return {"s3": {**location, "secretRef": {"name": secret}}}

        body = {
            "apiVersion": "multipartcopy.dev/v1alpha1",
            "kind": "MultipartCopy",
            "metadata": {"name": name},
            "spec": {
                "source": side("gate-a", "src", key),
                "destination": side("gate-b", bucket, to or key),
                "partSize": "5Mi",
                **spec,
            },
        }
        lab.apply(body, namespace=namespace or self.namespace)
        return name

    def get(self, name: str, namespace: str | None = None) -> dict[str, Any]:
        return lab.get("--namespace", namespace or self.namespace, "multipartcopy", name)

    def status(self, name: str, namespace: str | None = None) -> dict[str, Any]:
        return self.get(name, namespace).get("status", {})

    def reason(self, name: str, namespace: str | None = None) -> str:
        conditions = self.status(name, namespace).get("conditions") or [{}]
        return conditions[0].get("reason", "")

    def message(self, name: str, namespace: str | None = None) -> str:
        return self.status(name, namespace)["conditions"][0]["message"]

    def wait_reason(
        self, name: str, reason: str, seconds: float = 30, namespace: str | None = None
    ) -> str:
        """Until the conditions carry ``reason``; returns their message."""

        def check() -> bool:
            seen = self.reason(name, namespace)
            if seen != reason and self.status(name, namespace).get("completionTime"):
                raise AssertionError(f"ended as {seen}: {self.message(name, namespace)}")
            return seen == reason

        lab.wait_until(f"{name}: reason {reason}", check, seconds)
        return self.message(name, namespace)

    def wait_condition(
        self, name: str, condition: str, seconds: float = 120, namespace: str | None = None
    ) -> dict[str, Any]:
        """`kubectl wait`; returns the status."""
        where = namespace or self.namespace
        try:
            lab.kubectl(
                *("--namespace", where, "wait", f"multipartcopy/{name}"),
                *(f"--for=condition={condition}", f"--timeout={seconds:.0f}s"),
                timeout=seconds + 10,
            )
        except lab.LabError as error:
            raise AssertionError(
                f"{error}\n{json.dumps(self.status(name, where), indent=1)[:6000]}"
            ) from None
        return self.status(name, where)

    def pods(self, name: str, namespace: str | None = None) -> list[dict[str, Any]]:
        uid = self.get(name, namespace)["metadata"]["uid"]
        selector = f"--selector=multipartcopy.dev/uid={uid}"
        return lab.get("--namespace", namespace or self.namespace, "pods", selector)["items"]

    def patch(self, name: str, **spec: Any) -> None:
        lab.kubectl(
            *("--namespace", self.namespace, "patch", "multipartcopy", name, "--type=merge"),
            f"--patch={json.dumps({'spec': spec})}",
        )

    def delete(self, name: str) -> None:
        lab.kubectl(
            *("--namespace", self.namespace, "delete", "multipartcopy", name, "--timeout=90s"),
            timeout=100,
        )


@pytest.fixture(scope="session")
def installed() -> str:
    """The operator, installed from manifests/; the name of the S3 server's image."""
    missing = [name for name in ("KUBECONFIG", "IMAGE", "S3_IMAGE") if not os.environ.get(name)]
    if missing:
        pytest.exit(
            f"the cluster tier needs {', '.join(missing)}; `make test-cluster` sets them", 2
        )
    lab.install_operator(os.environ["IMAGE"], "--verbose", "--abort-grace=60", "--denied-grace=20")
    return os.environ["S3_IMAGE"]


@pytest.fixture(scope="session")
def world(installed: str) -> Iterator[World]:
    namespace = f"mpc-test-{secrets.token_hex(3)}"
    lab.kubectl("create", "namespace", namespace)
    with ExitStack() as stack:
        stack.callback(lab.kubectl, "delete", "namespace", namespace, "--wait=false")
        for name in ("s3-a", "s3-b"):
            lab.deploy_s3(namespace, name, installed)
        for name, upstream in (("gate-a", "s3-a"), ("gate-b", "s3-b")):
            _deploy_gate(namespace, name, upstream)
        for name in ("gate-a", "gate-b"):
            lab.kubectl(
                *("--namespace", namespace, "rollout", "status", f"deployment/{name}"), timeout=120
            )
        lab.apply(lab.credentials("s3"), namespace=namespace)

        def reach(service: str, port: int) -> str:
            return stack.enter_context(lab.reach(namespace, service, port))

        made = World(
            namespace,
            lab.s3_client(reach("s3-a", 7070)),
            lab.s3_client(reach("s3-b", 7070)),
            Gate(reach("gate-a", 9000)),
            Gate(reach("gate-b", 9000)),
        )
        made.source.create_bucket(Bucket="src")
        made.destination.create_bucket(Bucket="dst")
        yield made


@pytest.fixture(scope="session")
def data(world: World) -> bytes:
    """200 MiB under the key ``data`` of the source."""
    data = secrets.token_bytes(SIZE)
    world.put("data", data)
    return data


@pytest.fixture(scope="session")
def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(autouse=True)
def open_gates(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test has held is let go; where it failed, the operator's last words are shown."""
    yield
    if "world" in request.fixturenames:
        world = request.getfixturevalue("world")
        world.source_gate.open()
        world.destination_gate.open()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.when == "call" and report.failed:
        logs = lab.kubectl(
            *("--namespace", lab.SYSTEM, "logs", "deployment/multipartcopy-operator", "--tail=60")
        )
        report.sections.append(("operator", logs))


class Operator:
    """The operator's process, to be killed as no signal handler can see."""

    def kill(self) -> None:
        """SIGKILL; its Deployment starts another."""
        if lab.existing():
            lab.kubectl(
                *("--namespace", lab.SYSTEM, "delete", "pod", "--force", "--grace-period=0"),
                "--selector=app.kubernetes.io/component=operator",
            )
            return
        pids = _processes("multipartcopy", "operator")
        assert pids, "there is no operator to kill"
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def scale(self, replicas: int) -> None:
        where = ("--namespace", lab.SYSTEM)
        lab.kubectl(*where, "scale", "deployment/multipartcopy-operator", f"--replicas={replicas}")
        if replicas:
            lab.kubectl(
                *where, "rollout", "status", "deployment/multipartcopy-operator", timeout=120
            )
        else:
            lab.kubectl(*where, "wait", "pod", "--for=delete", "--timeout=60s", "--all", timeout=70)


@pytest.fixture
def operator(installed: str) -> Iterator[Operator]:
    """Afterwards the pod is replaced: the kubelet would delay its restarts more and more."""
    yield Operator()
    operator = Operator()
    operator.scale(0)
    operator.scale(1)


def kill_worker(pod: dict[str, Any], namespace: str) -> None:
    """SIGKILL for a worker, from outside of its container."""
    if lab.existing():
        name = pod["metadata"]["name"]
        lab.kubectl(
            *("--namespace", namespace, "delete", "pod", name, "--force", "--grace-period=0")
        )
        return
    uid = pod["metadata"]["uid"]
    pids = [pid for pid in _processes("multipartcopy", "worker") if uid in _cgroup(pid)]
    assert pids, f"no process of pod {uid}"
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


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


def _deploy_gate(namespace: str, name: str, upstream: str) -> None:
    labels = {"app": name}
    ports = [{"name": "s3", "port": 7070}, {"name": "control", "port": 9000}]
    container = {
        "name": "gate",
        "image": os.environ["IMAGE"],
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "/gate/gate.py", f"{upstream}:7070"],
        "volumeMounts": [{"name": "gate", "mountPath": "/gate"}],
        "readinessProbe": {"tcpSocket": {"port": 9000}, "periodSeconds": 1},
    }
    pod = {
        "containers": [container],
        "terminationGracePeriodSeconds": 1,
        "volumes": [{"name": "gate", "configMap": {"name": name}}],
    }
    metadata = {"name": name}
    lab.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": {"gate.py": GATE.read_text()},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": ports},
        },
        namespace=namespace,
    )
