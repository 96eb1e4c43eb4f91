"""Two operators act on the same copies at once, on purpose; and an operator's request outlives it."""

import re
from collections.abc import Iterator

import pytest

from dev import lab
from tests.cluster.effects import COPY, Case
from tests.cluster.processes import Operator
from tests.cluster.world import LIGHT, World

ACTIONS = {
    "finalizer": "AddFinalizer",
    "claim": "Inspect",
    "CreateMultipartUpload": "CreateUpload",
    "upload ID": "CreateUpload",
    "Job create": "StartRun",
    "ledger": "(Write|ListParts|EndRun)",
    "intent": "CrossCheck",
    "CompleteMultipartUpload": "Settle",
    "terminal status": "Settle",
    "Job delete": "DeleteJobs",
    "finalizer removal": "RemoveFinalizer",
}
"""The word in the operator's log for what asks for the effect."""


@pytest.fixture
def two(operator: Operator) -> Iterator[Operator]:
    operator.scale(0)
    yield operator
    operator.scale(1)


def test_both_do_every_effect(world: World, two: Operator):
    """Each copy's one effect is asked for by both before either request is passed on."""
    cases = {case.name: case for case in (Case(COPY, effect, "both") for effect in COPY.effects)}
    digests = {name: world.fill(name) for name in cases}
    for name, case in cases.items():
        world.copy(name, name, parallelism=2, worker=LIGHT)
        case.gate(world).add(case.rule(world.uid(name)))
    two.scale(2)
    waiting = set(cases)

    def all_met() -> bool:
        held = world.api_gate.held() + world.destination_gate.held()
        for name in [name for name in waiting if held[name] == 2]:
            case = cases[name]
            case.gate(world).remove({name})
            case.gate(world).release("forward", name)
            waiting.remove(name)
        return not waiting

    lab.wait_until(f"both at every effect; still not at {waiting}", all_met, 120)
    for name, digest in digests.items():
        status = world.check_copied(name, digest)
        assert (status["attempt"], status["run"]) == (1, 1)
        assert world.sent_again(name) == 0
    logs = two.logs()
    assert len(logs) == 2
    asked = {}
    for name, case in cases.items():
        line = re.compile(rf"/{name}: {ACTIONS[case.effect.what]}$", re.MULTILINE)
        asked[name] = sum(bool(line.search(log)) for log in logs.values())
    # Two requests that are held may be of one operator, whose patience with the first was over.
    assert sum(count == 2 for count in asked.values()) > len(cases) // 2, asked


def test_a_create_that_the_store_carries_out_late(world: World, operator: Operator):
    """Its operator is dead, and the next one has created its own by then: nobody can tell whose it is."""
    world.destination_gate.hold(r"^POST /dst/belated\?uploads", name="create")
    digest = world.begin("belated")
    world.destination_gate.wait_held(name="create")
    world.destination_gate.remove({"create"})
    operator.kill()
    world.wait_sending("belated")
    (ours,) = world.uploads("belated")
    world.destination_gate.release("forward", "create")
    lab.wait_until("the late upload", lambda: len(world.uploads("belated")) == 2, 30)
    (late,) = set(world.uploads("belated")) - {ours}
    world.let_parts_go("belated")
    world.wait_condition("belated", "Complete")
    assert world.sha256("belated") == digest
    assert world.uploads("belated") == [late]
    operator.wait_named(late)
    assert "UploadLeftBehind" in world.reasons("belated")
    world.destination.abort_multipart_upload(Bucket="dst", Key="belated", UploadId=late)


def test_a_complete_that_the_store_carries_out_late(world: World, operator: Operator):
    """The next operator has completed the upload by then."""
    world.destination_gate.hold(r"^POST /dst/repeated\?.*uploadId=", name="complete")
    digest = world.fill("repeated")
    world.copy("repeated", "repeated")
    world.destination_gate.wait_held(name="complete")
    world.destination_gate.remove({"complete"})
    operator.kill()
    world.check_copied("repeated", digest)
    world.destination_gate.release("forward", "complete")
    world.destination_gate.wait_log(r"^POST /dst/repeated\?.*uploadId=", 2)
    assert world.sha256("repeated") == digest
    world.wait_no_upload("repeated")
