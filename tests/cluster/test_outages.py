"""What the copies live on goes away for a while: the API server, the kubelet, both stores."""

import re
import time

import pytest

from dev import lab
from tests.cluster.processes import Operator
from tests.cluster.world import World

NAMES = ("first", "second", "third")
WATCH = r"^GET .*/multipartcopies\?.*watch=true"


def recorded(world: World, name: str) -> int:
    return world.status(name).get("progress", {}).get("partsDone", 0)


@pytest.mark.embedded
@pytest.mark.parametrize("seconds", [20, pytest.param(90, marks=pytest.mark.long)])
def test_the_api_server_is_away(world: World, seconds: int):
    """The workers go on without it, and what they report is read afterwards."""
    names = [f"{name}-{seconds}" for name in NAMES]
    digests = {name: world.begin(name) for name in names}
    for name in names:
        world.wait_sending(name)
    lab.cluster("stop", "kube-apiserver")
    try:
        time.sleep(seconds)
        for name in names:
            world.let_parts_go(name)
        world.destination_gate.wait_log(r"^PUT /dst/.*partNumber=", 4 * len(names))
    finally:
        lab.cluster("start", "kube-apiserver")
    for name in names:
        world.check_copied(name, digests[name])
        assert world.sent_again(name) == 0


@pytest.mark.embedded
def test_the_kubelet_is_restarted(world: World):
    digest = world.begin("unattended")
    world.wait_sending("unattended")
    lab.cluster("restart", "kubelet")
    world.let_parts_go("unattended")
    status = world.check_copied("unattended", digest)
    assert (status["attempt"], status["run"]) == (1, 1)
    assert world.sent_again("unattended") == 0


def test_the_api_server_errs_all_the_time(world: World, operator: Operator):
    """Of the operator's requests every fifth is refused, of its writes some more."""
    statuses = (500, 429, 503)
    faults = [
        fault(f"error-{n}", r"^(?!GET .*watch=true)", statuses[n % 3], skip=4 * (n + 1))
        for n in range(40)
    ]
    conflicts = [
        fault(f"error-409-{n}", r"^(PATCH|POST)", 409, skip=3 * (n + 1)) for n in range(12)
    ]
    world.api_gate.add(*conflicts, *faults)
    digests = {name: world.fill(name) for name in ("refused-1", "refused-2", "refused-3")}
    for name in digests:
        world.copy(name, name)
    for name, digest in digests.items():
        world.check_copied(name, digest)
        assert world.sent_again(name) == 0
    met = [entry["status"] for entry in world.api_gate.log() if entry["rule"]]
    world.tally["errors of the API server"] += len(met)
    assert {409, 429, 500, 503} <= set(met)


def fault(name: str, match: str, status: int, *, skip: int) -> dict[str, object]:
    body = (
        f'{{"kind": "Status", "apiVersion": "v1", "code": {status}, "status": "Failure",'
        ' "message": "try again", "reason": "Injected"}'
    )
    headers = {"Content-Type": "application/json", "Retry-After": "1"}
    do = {"kind": "answer", "status": status, "headers": headers, "body": body}
    return {"name": name, "match": match, "skip": skip, "times": 1, "do": do}


@pytest.mark.embedded
def test_a_watch_from_a_revision_that_is_compacted(world: World, operator: Operator):
    """Its watches are cut and cannot come back until what they ask for is forgotten: 410."""
    digest = world.begin("behind")
    world.wait_sending("behind")
    world.api_gate.add(
        {"name": "no watch", "match": "watch=true", "do": {"kind": "reset", "at": "request"}}
    )
    world.api_gate.down()
    world.api_gate.up()
    world.api_gate.wait_log(WATCH, 1, status=None)
    asked = world.api_gate.log(WATCH)[-1]["request"].split(" ", 1)[1]
    world.let_parts_go("behind")
    lab.wait_until("the ledger", lambda: recorded(world, "behind") == 4, 60)
    lab.cluster("compact")
    lab.cluster("restart", "kube-apiserver")  # it forgets what it had cached of the past
    lab.wait_until("410", lambda: '"code":410' in watched(asked), 60)
    world.api_gate.remove({"no watch"})
    revision = re.search(r"resourceVersion=(\d+)", asked)
    assert revision
    world.api_gate.wait_log(rf"{WATCH}.*resourceVersion={revision[1]}\b", 1, status=200)
    # Nothing but a watch tells of a new resource.
    later = world.fill("later")
    world.copy("later", "later")
    world.check_copied("later", later)
    world.check_copied("behind", digest)


def watched(target: str) -> str:
    """What the API server says to a watch, in its first seconds."""
    return lab.kubectl("get", "--raw", f"{target}&timeoutSeconds=1")


@pytest.mark.parametrize("seconds", [20, pytest.param(600, marks=pytest.mark.long)])
def test_both_stores_are_away(world: World, seconds: int):
    """Nothing ends, and nothing that is proven is sent again."""
    name = f"cut-off-{seconds}"
    digest = world.begin(name, parts="4")
    world.wait_sending(name)
    world.destination_gate.wait_log(rf"^PUT /dst/{name}\?.*partNumber=", 3)
    for gate in (world.source_gate, world.destination_gate):
        gate.down()
    time.sleep(seconds)
    world.destination_gate.remove({f"{name}:parts"})
    assert "completionTime" not in world.status(name)
    for gate in (world.source_gate, world.destination_gate):
        gate.up()
    status = world.check_copied(name, digest, 400)
    assert status["attempt"] == 1
    assert world.sent_again(name) == 0
