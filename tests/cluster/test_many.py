"""Many large copies: what the operator holds of each must not add up to the memory limit of its pod."""

import hashlib
import json
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from dev import lab
from multipartcopy.api.codec import to_json
from multipartcopy.api.conditions import summarize
from multipartcopy.api.names import FINALIZER
from multipartcopy.api.reasons import Reason
from multipartcopy.api.status import Claim, Destination, Phase, Pin, Status, Upload
from multipartcopy.kube import connect
from multipartcopy.plan import make_plan
from multipartcopy.reconcile.ledger import Part, write_parts
from tests.cluster.processes import Operator
from tests.cluster.world import MiB, World

NOW = "2026-01-02T03:04:05Z"
PARTS = 10_000
LIVE, FINISHED = 40, 120
"""Their ledgers are 0.5 MB each, and thrice as much once they are objects of Python: of all, as much as the limit."""
LIMIT = "256Mi"
"""Half of what the manifests allow."""


@pytest.fixture
def crowd(world: World, operator: Operator) -> Iterator[str]:
    """A namespace full of copies that a new operator finds: most are over, and some wait for a Secret."""
    namespace = f"mpc-many-{secrets.token_hex(3)}"
    live = [f"live-{n}" for n in range(LIVE)]
    over = [f"over-{n}" for n in range(FINISHED)]
    lab.kubectl("create", "namespace", namespace)
    template = operator.template()
    operator.scale(0)
    try:
        limit = "/spec/template/spec/containers/0/resources/limits/memory"
        operator.patch({"op": "replace", "path": limit, "value": LIMIT})
        copies = [
            *(resource(name, [FINALIZER]) for name in live),
            *(resource(name, []) for name in over),
        ]
        lab.kubectl(
            *("create", "--namespace", namespace, "--filename=-"),
            stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": copies}),
        )
        kube, statuses = connect(), (to_json(a_live_one()), to_json(one_that_is_over()))

        def write(name: str) -> None:
            value = statuses[name.startswith("over")]
            operation = {"op": "add", "path": "/status", "value": value}
            kube.patch_copy_status(namespace, name, [operation])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, [*live, *over]))
        operator.scale(1)
        yield namespace
    finally:
        operator.scale(0)
        released = [resource(name, []) for name in live]
        lab.kubectl(
            *("replace", "--namespace", namespace, "--filename=-"),
            stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": released}),
        )
        # Gone before an operator sees them: it would give them their finalizers back.
        lab.kubectl("--namespace", namespace, "delete", "mpc", "--all", "--timeout=50s")
        lab.kubectl("delete", "namespace", namespace, "--wait=false")
        operator.set_template(template)
        operator.scale(1)


def test_an_operator_that_finds_many_large_copies_stays_within_its_memory(
    world: World, crowd: str, operator: Operator
) -> None:
    lab.wait_until(
        "every live copy to be looked at",
        lambda: {world.reason(f"live-{n}", crowd) for n in range(LIVE)} == {"SecretNotFound"},
        120,
        pause=2,
    )
    digest = world.fill("among-many")
    world.copy("among-many", "among-many")
    world.check_copied("among-many", digest)
    (pod,) = operator.pods()
    (container,) = pod["status"]["containerStatuses"]
    assert pod["spec"]["containers"][0]["resources"]["limits"]["memory"] == LIMIT
    assert container["restartCount"] == 0, container["lastState"]
    assert world.status("over-0", crowd)["phase"] == "Succeeded"


def resource(name: str, finalizers: list[str]) -> dict[str, Any]:
    def side(bucket: str) -> dict[str, Any]:
        return {"s3": {"bucket": bucket, "key": name, "secretRef": {"name": "none"}}}

    return {
        "apiVersion": "multipartcopy.dev/v1alpha1",
        "kind": "MultipartCopy",
        "metadata": {"name": name, "finalizers": finalizers},
        "spec": {"source": side("src"), "destination": side("dst")},
    }


def a_live_one() -> Status:
    """All but a few parts are there."""
    plan = make_plan(PARTS * 5 * MiB, part_size="5Mi")
    etags = {n: hashlib.md5(b"%d" % n, usedforsecurity=False) for n in range(1, PARTS - 10)}
    parts = {n: Part(etag.hexdigest(), n) for n, etag in etags.items()}
    return Status(
        observed_generation=1,
        phase=Phase.COPYING,
        conditions=said(Phase.COPYING, Reason.COPYING),
        attempt=1,
        run=1,
        source=Pin("e", PARTS * 5 * MiB),
        plan=plan,
        claim=Claim(NOW),
        upload=Upload("u", checksum=True),
        batches=write_parts(plan, PARTS * 5 * MiB, parts),
    )


def one_that_is_over() -> Status:
    copied = a_live_one()
    ended = {
        "phase": Phase.SUCCEEDED,
        "conditions": said(Phase.SUCCEEDED, Reason.COPIED),
        "completion_time": NOW,
        "destination": Destination("e", PARTS * 5 * MiB),
    }
    return replace(copied, upload=None, **ended)


def said(phase: Phase, reason: Reason) -> Any:
    return summarize(phase, reason, "it is so", generation=1, now=NOW, before=())
