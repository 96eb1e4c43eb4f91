"""One namespace with all that a copy needs, and the questions that a test asks of it."""

import hashlib
import json
import os
import re
import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from dev import lab
from tests.cluster import gates
from tests.cluster.gates import Gate

MiB = 1 << 20
SMALL = 16 * MiB
"""An object of four parts."""
FLAGS = ("--verbose", "--abort-grace=20", "--denied-grace=20")
"""Of the operator."""
LIGHT = {"streams": 2, "resources": {"requests": {"cpu": "10m"}}}
"""``spec.worker`` for many copies at once on a small node."""


@dataclass(frozen=True)
class World:
    """Objects are in bucket ``src`` at a, ``dst`` at b. ``tally`` counts for the summary of all tests."""

    namespace: str
    source: Any
    destination: Any
    source_gate: Gate
    destination_gate: Gate
    api_gate: Gate
    tally: Counter[str]

    @property
    def gates(self) -> tuple[Gate, Gate, Gate]:
        return self.source_gate, self.destination_gate, self.api_gate

    def put(self, key: str, data: bytes) -> None:
        self.source.put_object(Bucket="src", Key=key, Body=data)

    def fill(self, key: str, size: int = SMALL) -> str:
        """Put random bytes; returns their sha256."""
        content = secrets.token_bytes(size)
        self.put(key, content)
        return hashlib.sha256(content).hexdigest()

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
        within: bool = False,
        **spec: Any,
    ) -> str:
        """Create a MultipartCopy through the gates; ``secret``, ``bucket`` and the spec's fields override.

        ``within`` b, from its bucket ``dst``.
        """
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
                "source": side("gate-b", "dst", key) if within else side("gate-a", "src", key),
                "destination": side("gate-b", bucket, to or key),
                "partSize": "5Mi",
                **spec,
            },
        }
        # Not applied: a name that another test has used would take over what is left of that one.
        where = "--namespace", namespace or self.namespace
        lab.kubectl("create", *where, "--filename=-", stdin=json.dumps(body))
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

    def edit_status(self, name: str, *operations: dict[str, Any]) -> None:
        """As somebody may by hand: a JSON-patch of the status subresource."""
        lab.kubectl(
            *("--namespace", self.namespace, "patch", "multipartcopy", name),
            *("--subresource=status", "--type=json", f"--patch={json.dumps(operations)}"),
        )

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
        return self._of("pods", name, namespace)

    def jobs(self, name: str) -> list[dict[str, Any]]:
        return self._of("jobs", name)

    def _of(self, what: str, name: str, namespace: str | None = None) -> list[dict[str, Any]]:
        selector = f"--selector=multipartcopy.dev/uid={self.uid(name, namespace)}"
        return lab.get("--namespace", namespace or self.namespace, what, selector)["items"]

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

    def uid(self, name: str, namespace: str | None = None) -> str:
        return str(self.get(name, namespace)["metadata"]["uid"])

    def begin(self, name: str, *, parts: str = "", at: str = "request", **spec: Any) -> str:
        """A copy of a new object of the same name, held at those of its parts that match; its sha256."""
        digest = self.fill(name)
        self.destination_gate.hold(
            rf"^PUT /dst/{name}\?.*partNumber={parts or '[0-9]+'}&", name=f"{name}:parts", at=at
        )
        self.copy(name, name, **{"parallelism": 2, "worker": LIGHT, **spec})
        return digest

    def wait_sending(self, name: str) -> None:
        # After an outage of the API server the operator's watches come back within a minute.
        self.destination_gate.wait_held(name=f"{name}:parts", seconds=150)

    def let_parts_go(self, name: str, how: str = "forward") -> None:
        self.destination_gate.remove({f"{name}:parts"})
        self.destination_gate.release(how, f"{name}:parts")

    def check_copied(self, name: str, digest: str, seconds: float = 180) -> dict[str, Any]:
        """Complete, equal, and nothing left at the store; returns the status."""
        status = self.wait_condition(name, "Complete", seconds)
        assert self.sha256(name) == digest
        self.wait_no_upload(name)
        self.tally["copies that survived"] += 1
        return status

    def wait_gone(self, name: str, seconds: float = 90) -> None:
        lab.kubectl(
            *("--namespace", self.namespace, "wait", f"multipartcopy/{name}", "--for=delete"),
            f"--timeout={seconds:.0f}s",
            timeout=seconds + 10,
        )

    def wait_no_upload(self, key: str, seconds: float = 30) -> None:
        lab.wait_until(f"no upload of {key}", lambda: not self.uploads(key), seconds)

    def reasons(self, name: str, namespace: str = "") -> set[str]:
        """Of the Events about a resource."""
        selector = f"--field-selector=involvedObject.name={name},involvedObject.kind=MultipartCopy"
        items = lab.get("--namespace", namespace or self.namespace, "events", selector)["items"]
        return {event["reason"] for event in items}

    def sent_again(self, key: str) -> int:
        """Bytes of parts that reached the destination's gate beyond the first whole sending of each."""
        sent = defaultdict(list)
        for entry in self.destination_gate.log(rf"^PUT /dst/{key}\?"):
            if part := re.match(r"PUT .*partNumber=(\d+)&", entry["request"]):
                sent[part[1]].append(entry["request_bytes"])
        again = sum(sum(sizes) - max(sizes) for sizes in sent.values())
        self.tally["bytes sent again"] += again
        return again


def install() -> None:
    """The operator, from manifests/, behind a gate to the API server."""
    if not lab.kubectl("get", "namespace", lab.SYSTEM, "--ignore-not-found"):
        lab.kubectl("create", "namespace", lab.SYSTEM)
    patches = gates.deploy_before_api_server()
    lab.install_operator(os.environ["IMAGE"], *FLAGS, patches=patches)


@contextmanager
def made(s3_image: str, tally: Counter[str]) -> Iterator[World]:
    """A namespace with two S3 servers and a gate before each; it is deleted afterwards."""
    namespace = f"mpc-test-{secrets.token_hex(3)}"
    lab.kubectl("create", "namespace", namespace)
    with ExitStack() as stack:
        stack.callback(lab.kubectl, "delete", "namespace", namespace, "--wait=false")
        for name in ("s3-a", "s3-b"):
            lab.deploy_s3(namespace, name, s3_image)
        for name, upstream in (("gate-a", "s3-a"), ("gate-b", "s3-b")):
            gates.deploy(namespace, name, f"{upstream}:7070")
        lab.apply(lab.credentials("s3"), namespace=namespace)

        def reach(service: str, port: int, where: str = namespace) -> str:
            return stack.enter_context(lab.reach(where, service, port))

        world = World(
            namespace,
            lab.s3_client(reach("s3-a", 7070)),
            lab.s3_client(reach("s3-b", 7070)),
            Gate(reach("gate-a", 9000)),
            Gate(reach("gate-b", 9000)),
            Gate(reach(gates.API_GATE, 9000, lab.SYSTEM)),
            tally,
        )
        world.source.create_bucket(Bucket="src")
        world.destination.create_bucket(Bucket="dst")
        yield world


def check_each(names: Iterable[str], check: Callable[[str], None]) -> None:
    """Check all of them, and then fail for those that did not pass."""
    problems = []
    for name in names:
        try:
            check(name)
        except (AssertionError, lab.LabError) as error:
            problems.append(f"{name}: {error}")
    assert not problems, "\n".join(problems)
