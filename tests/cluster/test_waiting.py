"""Waiting is not failing: what the cluster lacks is said within 30 seconds, and ends when it is there."""

import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev import lab
from tests.cluster.world import World
from tests.pages import blocks, commands, shell


@pytest.fixture
def poor(world: World) -> Iterator[str]:
    """A namespace that may have no pods."""
    name = f"mpc-poor-{secrets.token_hex(3)}"
    lab.kubectl("create", "namespace", name)
    lab.apply(lab.credentials("s3"), namespace=name)
    lab.kubectl("--namespace", name, "create", "quota", "none", "--hard=pods=0")
    yield name
    lab.kubectl("delete", "namespace", name, "--wait=false")


def test_a_missing_secret(world: World, data: bytes):
    world.copy("unlocked", "data", to="keyless", secret="later")
    message = world.wait_reason("unlocked", "SecretNotFound")
    assert "there is no Secret later" in message
    assert world.status("unlocked")["phase"] == "Pending"
    lab.apply(lab.credentials("later"), namespace=world.namespace)
    world.wait_condition("unlocked", "Complete")


def test_the_trial_without_a_store(world: World, tmp_path: Path):
    """As the page of operations shows it to whoever has just installed the operator."""
    shown = [b for b in blocks("yaml", "sh") if b.page.name == "operations.md"]
    at = next(n for n, block in enumerate(shown) if "name: try\n" in block.text)
    (tmp_path / "try.yaml").write_text(shown[at].text)
    for words in commands(shell(shown[at + 1])):
        command = [*words, f"--namespace={world.namespace}"]
        subprocess.run(command, cwd=tmp_path, check=True, timeout=60)


def test_a_wrong_secret_key_is_named(world: World):
    lab.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "odd"},
            "stringData": {"a": "b"},
        },
        namespace=world.namespace,
    )
    world.copy("odd", "data", to="odd", secret="odd")
    assert "lacks AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in world.wait_reason(
        "odd", "SecretInvalid"
    )
    world.delete("odd")


def test_a_wrong_secret_fails_after_its_grace(world: World):
    lab.apply(lab.credentials("wrong", secret_key="wrong"), namespace=world.namespace)
    world.copy("denied", "data", to="denied", secret="wrong")
    assert "SignatureDoesNotMatch" in world.wait_reason("denied", "AccessDenied")
    status = world.wait_condition("denied", "Failed", 90)
    assert {c["type"]: c["status"] for c in status["conditions"]}["Stalled"] == "True"
    world.delete("denied")


def test_a_quota(world: World, data: bytes, poor: str):
    world.copy("poor", "data", to="poor", namespace=poor)
    message = world.wait_reason("poor", "QuotaExceeded", 30, poor)
    assert "exceeded quota: none" in message
    lab.kubectl("--namespace", poor, "delete", "quota", "none")
    world.wait_condition("poor", "Complete", 180, poor)


def test_a_pod_too_large_for_every_node(world: World, data: bytes, sha256: str):
    world.copy("huge", "data", to="huge", worker={"resources": {"requests": {"cpu": "500"}}})
    assert "nodes are available" in world.wait_reason("huge", "Unschedulable")
    world.patch("huge", worker={"resources": {"requests": {"cpu": "10m"}}})
    world.wait_condition("huge", "Complete", 120)
    assert world.sha256("huge") == sha256


def test_a_memory_limit_that_is_too_small(world: World, data: bytes, sha256: str):
    small = {"streams": 16, "resources": {"limits": {"memory": "20Mi"}}}
    world.copy("small", "data", to="small", worker=small, backoffLimitPerBatch=0)
    message = world.wait_reason("small", "OOMKilled", 60)
    assert "20Mi" in message
    assert "spec.worker.resources.limits.memory" in message
    failure = world.status("small")["lastFailure"]
    assert (failure["reason"], failure["exitCode"]) == ("OOMKilled", 137)
    world.patch("small", worker={"resources": {"limits": {"memory": "128Mi"}}})
    world.wait_condition("small", "Complete", 180)
    assert world.sha256("small") == sha256


def test_a_memory_limit_that_may_be_raised(world: World, data: bytes, sha256: str):
    """Again and again, with nobody's help, and not once with the same."""
    limits = {"limits": {"memory": "20Mi"}}
    worker = {"streams": 16, "resources": limits, "maxMemory": "128Mi"}
    world.copy("grows", "data", to="grows", worker=worker)
    status = world.wait_condition("grows", "Complete", 180)
    assert world.sha256("grows") == sha256
    assert status["workerMemory"] in ("40Mi", "80Mi")
    killed = status["lastFailure"]
    assert (killed["reason"], killed["exitCode"]) == ("OOMKilled", 137)
    assert killed["message"].endswith(f"; the next run has {status['workerMemory']}")
    assert "OOMKilled" in world.reasons("grows")
    assert status["run"] == {"40Mi": 2, "80Mi": 3}[status["workerMemory"]]


def test_the_younger_of_two_for_one_destination_waits(world: World, data: bytes):
    world.destination_gate.hold(r"PUT .*partNumber=40&")
    world.copy("older", "data", to="shared", parallelism=1)
    world.destination_gate.wait_held()
    world.copy("younger", "data", to="shared")
    assert "older" in world.wait_reason("younger", "DestinationBusy")
    world.destination_gate.open()
    world.wait_condition("older", "Complete")
    world.wait_condition("younger", "Complete")
    assert world.reason("younger") == "AlreadyEqual"
