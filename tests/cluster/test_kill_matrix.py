"""The operator is killed between every two effects of its protocol.

Each case is a copy whose one effect is held at a gate: ``before`` it is applied, and then dropped; or
``after`` it was applied, with its answer withheld. Many copies stand each at its own effect when one
SIGKILL ends the operator; its successor has to bring all of them to their ends.
"""

import hashlib
import secrets
import time

import pytest

from dev import lab
from tests.cluster.effects import STORIES, Case, Story, suspend
from tests.cluster.processes import Operator
from tests.cluster.world import LIGHT, World, check_each

API_PATIENCE = 15
"""Seconds, well below the 20 after which the operator would ask the API server again."""
KILLS = 6
"""For one story: a copy that was elsewhere at one kill stands at its effect at the next."""


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_killed_between_any_two_effects(world: World, operator: Operator, story: Story):
    cases = [Case(story, effect, when) for effect in story.effects for when in ("before", "after")]
    objects = {case.name: secrets.token_bytes(story.size) for case in cases}
    operator.scale(0)
    for case in cases:
        world.put(case.name, objects[case.name])
        world.copy(case.name, case.name, parallelism=2, worker=LIGHT)
        case.gate(world).add(case.rule(world.uid(case.name)))
        if story.holds_parts:
            world.destination_gate.hold(rf"^PUT /dst/{case.name}\?", name=case.parts)
    operator.scale(1)
    left = list(cases)
    for _ in range(KILLS):
        reached = stand_at_their_effects(world, left)
        operator.kill()
        for case in reached:
            let_go(world, case)
        left = [case for case in left if case not in reached]
        if not left:
            break
    assert not left, f"never held: {[case.name for case in left]}"
    world.tally["boundaries tried"] += len(cases)
    by_name = {case.name: case for case in cases}
    check_each(by_name, lambda name: check(world, by_name[name], objects[name]))


def stand_at_their_effects(world: World, cases: list[Case]) -> list[Case]:
    """Wait until all are held, or until those held at the API server cannot be held for longer."""
    gates, done = (world.api_gate, world.destination_gate), set()
    since: dict[str, float] = {}
    end = time.monotonic() + 120
    while time.monotonic() < end:
        held = gates[0].held() + gates[1].held()
        for case in cases:
            if case.story.meanwhile and held[case.parts] and case.name not in done:
                case.story.meanwhile(world, case.name)
                done.add(case.name)
        now = time.monotonic()
        at_api = [case.name for case in cases if held[case.name] and not case.effect.at_store]
        since = {name: since.get(name, now) for name in at_api}
        reached = [case for case in cases if held[case.name]]
        waited = now - min(since.values(), default=now)
        if len(reached) == len(cases) or waited > API_PATIENCE:
            return reached
        time.sleep(0.2)
    raise AssertionError(f"held: {held}; not all of {[case.name for case in cases]}")


def let_go(world: World, case: Case) -> None:
    """The operator that asked is dead. What was not applied never is."""
    case.gate(world).remove({case.name})
    case.gate(world).release("drop", case.name)
    if case.story.holds_parts:
        world.destination_gate.remove({case.parts})
        world.destination_gate.release("drop", case.parts)


def check(world: World, case: Case, content: bytes) -> None:
    """The end that the copy should have, nothing left of it, and the word of it in all places."""
    name, story = case.name, case.story
    if not story.ends:
        world.wait_gone(name)
    else:
        if story.meanwhile is suspend:
            world.wait_reason(name, "Suspended")
            world.patch(name, suspend=False)
        complete = story.ends == "Copied"
        status = world.wait_condition(name, "Complete" if complete else "Failed")
        assert world.reason(name) == story.ends
        assert status["attempt"] == 1
        lab.wait_until("the Event of its end", lambda: story.ends in world.reasons(name), 30)
    if story.ends == "Copied":
        assert world.sha256(name) == hashlib.sha256(content).hexdigest()
    else:
        assert not world.exists(name)
    world.wait_no_upload(name)
    assert world.sent_again(name) == 0
    world.tally["boundaries survived"] += 1
