"""Any process may die between any two effects; each is stopped there by a gate, not by luck."""

import json
import signal
from functools import partial
from typing import Any

import pytest

from dev import lab
from tests.cluster.processes import Operator, kill_worker
from tests.cluster.world import LIGHT, World, check_each

LAST_PART = r"PUT .*partNumber=40&"
COMPLETE = r"POST .*uploadId="


def recorded(world: World, name: str) -> int:
    return world.status(name).get("progress", {}).get("partsDone", 0)


def test_the_operator_in_the_middle_of_the_copy(
    world: World, data: bytes, sha256: str, operator: Operator
):
    world.destination_gate.hold(LAST_PART)
    world.copy("orphaned", "data", to="orphaned")
    world.destination_gate.wait_held()
    lab.wait_until("a ledger of 39 parts", lambda: recorded(world, "orphaned") == 39, 60)
    upload = world.status("orphaned")["upload"]["id"]
    operator.kill()
    world.destination_gate.open()
    status = world.wait_condition("orphaned", "Complete")
    assert status["upload"]["id"] == upload
    assert (status["attempt"], status["run"]) == (1, 1)
    assert world.sha256("orphaned") == sha256


def running(world: World, name: str, batch: int) -> dict[str, Any] | None:
    """The pod of this batch."""
    index = "batch.kubernetes.io/job-completion-index"
    for pod in world.pods(name):
        here = pod["metadata"]["labels"][index] == str(batch)
        if here and pod["status"]["phase"] == "Running":
            return pod
    return None


def ended(world: World, name: str, pod: dict[str, Any]) -> bool:
    uid = pod["metadata"]["uid"]
    running = [p for p in world.pods(name) if p["status"]["phase"] == "Running"]
    return uid not in [p["metadata"]["uid"] for p in running]


@pytest.mark.parametrize("how", ["forward", "drop"])
def test_the_operator_between_the_intent_and_its_answer(
    world: World, data: bytes, sha256: str, operator: Operator, how: str
):
    """Once the store completes and nobody hears of it, once the request is lost."""
    name = f"completing-{how}"
    world.destination_gate.hold(COMPLETE)
    world.copy(name, "data", to=name)
    world.destination_gate.wait_held()
    assert world.status(name)["completing"]["etag"].endswith("-40")
    assert not world.exists(name)
    operator.kill()
    world.destination_gate.open(how)
    status = world.wait_condition(name, "Complete")
    assert world.reason(name) == "Copied"
    assert status["attempt"] == 1
    assert world.sha256(name) == sha256
    assert world.uploads(name) == []


def test_the_operator_before_the_upload_id_is_written(
    world: World, data: bytes, sha256: str, operator: Operator
):
    """The store has made the upload when the operator dies; the next one finds it by the claim."""
    name = "unrecorded"
    world.destination_gate.hold(r"POST .*\?uploads")
    world.copy(name, "data", to=name)
    world.destination_gate.wait_held()
    operator.kill()
    world.destination_gate.open()
    status = world.wait_condition(name, "Complete")
    assert status["attempt"] == 1
    assert world.sha256(name) == sha256
    assert world.uploads(name) == []


def test_deleted_while_the_operator_is_down(world: World, data: bytes, operator: Operator):
    world.destination_gate.hold(LAST_PART)
    world.copy("forgotten", "data", to="forgotten")
    world.destination_gate.wait_held()
    operator.kill()
    operator.scale(0)
    lab.kubectl("--namespace", world.namespace, "delete", "mpc", "forgotten", "--wait=false")
    assert world.uploads("forgotten")
    operator.scale(1)
    world.destination_gate.open()
    lab.kubectl(
        *("--namespace", world.namespace, "wait", "mpc/forgotten", "--for=delete", "--timeout=90s"),
        timeout=100,
    )
    assert world.uploads("forgotten") == []
    assert not world.exists("forgotten")


def test_deleted_in_the_middle_of_the_copy(world: World, data: bytes):
    world.destination_gate.hold(LAST_PART)
    world.copy("unwanted", "data", to="unwanted")
    world.destination_gate.wait_held()
    uid = world.get("unwanted")["metadata"]["uid"]
    world.delete("unwanted")
    assert world.uploads("unwanted") == []
    assert not world.exists("unwanted")
    selector = f"--selector=multipartcopy.dev/uid={uid}"
    lab.wait_until(
        "no pod left",
        lambda: not lab.get("--namespace", world.namespace, "pods", selector)["items"],
        60,
    )


def test_deleted_after_its_secret(world: World, data: bytes):
    """The operator remembers how it got in, for the abort."""
    lab.apply(lab.credentials("brief"), namespace=world.namespace)
    world.destination_gate.hold(LAST_PART)
    world.copy("keyless", "data", to="bereft", secret="brief")
    world.destination_gate.wait_held()
    lab.kubectl("--namespace", world.namespace, "delete", "secret", "brief")
    assert "there is no Secret brief" in world.wait_reason("keyless", "SecretNotFound")
    world.delete("keyless")
    assert world.uploads("bereft") == []


def kill(pod: dict[str, Any], namespace: str) -> None:
    kill_worker(pod, namespace, signal.SIGKILL)


def terminate(pod: dict[str, Any], namespace: str) -> None:
    kill_worker(pod, namespace, signal.SIGTERM)


def evict(pod: dict[str, Any], namespace: str) -> None:
    name = pod["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    where = f"/api/v1/namespaces/{namespace}/pods/{name}/eviction"
    lab.kubectl("create", "--raw", where, "--filename=-", stdin=json.dumps(eviction))


def delete(pod: dict[str, Any], namespace: str) -> None:
    name = pod["metadata"]["name"]
    lab.kubectl("--namespace", namespace, "delete", "pod", name, "--wait=false")


def test_workers(world: World):
    """Each with one part of two stored, and the other on its way, or stored without its knowing.

    A part of the other batch is held as well: the operator, which lists the parts, would else see all
    of them stored before the worker is told, and complete without it.
    """
    cases = {
        f"wounded-{how.__name__}-{at}": (how, at)
        for how in (kill, terminate, evict, delete)
        for at in ("request", "answer")
    }
    digests = {}
    for name, (how, at) in cases.items():
        world.destination_gate.hold(rf"^PUT /dst/{name}\?.*partNumber=1&", name=f"{name}:other")
        digests[name] = world.begin(name, parts="4", at=at)
        world.wait_sending(name)
        pod = lab.wait_until("its pod", partial(running, world, name, 1), 60)
        how(pod, world.namespace)
        world.tally["workers killed"] += 1
        lab.wait_until("its end", partial(ended, world, name, pod), 60)
        world.let_parts_go(name, "drop")
        world.destination_gate.remove({f"{name}:other"})
        world.destination_gate.release("forward", f"{name}:other")

    def check(name: str) -> None:
        status = world.check_copied(name, digests[name])
        killed = cases[name][0] is kill
        assert status["attempt"] == 1
        assert status["lastFailure"]["exitCode"] == (137 if killed else 143)
        assert status["lastFailure"]["reason"] == ("WorkerFailed" if killed else "WorkerTerminated")
        assert world.sent_again(name) == 0

    check_each(cases, check)


def test_the_job_is_deleted_by_hand(world: World, data: bytes, sha256: str):
    world.destination_gate.hold(LAST_PART)
    world.copy("jobless", "data", to="jobless")
    world.destination_gate.wait_held()
    uid = world.get("jobless")["metadata"]["uid"]
    lab.kubectl(
        *("--namespace", world.namespace, "delete", "job"),
        f"--selector=multipartcopy.dev/uid={uid}",
    )
    world.destination_gate.open("drop")
    world.wait_condition("jobless", "Complete")
    assert world.sha256("jobless") == sha256


def test_suspend_and_resume(world: World, data: bytes, sha256: str):
    world.destination_gate.hold(LAST_PART)
    world.copy("paused", "data", to="paused")
    world.destination_gate.wait_held()
    lab.wait_until("a ledger of 39 parts", lambda: recorded(world, "paused") == 39, 60)
    world.patch("paused", suspend=True)
    world.wait_reason("paused", "Suspended")
    lab.wait_until("no pod left", lambda: not world.pods("paused"), 60)
    before = world.status("paused")
    assert before["phase"] == "Suspended"
    assert "lastFailure" not in before
    assert len(world.uploads("paused")) == 1
    world.destination_gate.open("drop")
    world.patch("paused", suspend=False)
    status = world.wait_condition("paused", "Complete")
    assert "lastFailure" not in status
    assert status["upload"] == before["upload"]
    assert world.sha256("paused") == sha256


def test_a_change_of_parallelism_acts_on_the_running_job(world: World, data: bytes, sha256: str):
    world.destination_gate.hold(r"PUT .*partNumber=")
    world.copy("scaled", "data", to="scaled", parallelism=4, worker=LIGHT)

    def alive() -> int:
        phases = [
            pod["status"]["phase"]
            for pod in world.pods("scaled")
            if "deletionTimestamp" not in pod["metadata"]
        ]
        return sum(phase in ("Pending", "Running") for phase in phases)

    lab.wait_until("4 pods", lambda: alive() == 4, 60)
    (job,) = world.jobs("scaled")
    for pods in (1, 3):
        world.patch("scaled", parallelism=pods)
        lab.wait_until(f"{pods} pods", lambda pods=pods: alive() == pods, 60)
    (now,) = world.jobs("scaled")
    assert now["metadata"]["uid"] == job["metadata"]["uid"]
    world.destination_gate.open("drop")
    status = world.wait_condition("scaled", "Complete")
    assert (status["attempt"], status["run"]) == (1, 1)
    assert world.sha256("scaled") == sha256
