"""Health and actions for Argo CD, run by a real Lua as Argo CD runs them, from files in its own layout.

https://argo-cd.readthedocs.io/en/stable/operator-manual/health/ and …/resource_actions/
"""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa.lua51 import LuaRuntime, lua_type

from dev.argocd import CUSTOMIZATION, VALUE, actions
from multipartcopy.api.reasons import Reason
from multipartcopy.api.status import Phase
from multipartcopy.reconcile import decide as steps
from multipartcopy.reconcile.decide import decide
from multipartcopy.reconcile.facts import Facts, read_resource
from tests.unit import phases
from tests.unit.facts import NOW

Object = dict[str, Any]

HEALTH = yaml.safe_load((CUSTOMIZATION / "health_test.yaml").read_text())["tests"]
ACTIONS = yaml.safe_load((CUSTOMIZATION / "actions/action_test.yaml").read_text())


def run(script: Path, obj: Object) -> Any:
    """What it returns, with ``obj`` for a global and no library but those that Argo CD opens."""
    lua = LuaRuntime(register_eval=False, register_builtins=False)
    for name in ("io", "debug", "os", "string", "math", "coroutine"):
        lua.globals()[name] = None
    lua.globals()["obj"] = lua.table_from(obj, recursive=True)
    return plain(lua.execute(script.read_text()))


def plain(value: Any) -> Any:
    """A table with the keys 1 to n is a list, as it is to the library by which Argo CD writes JSON."""
    if lua_type(value) != "table":
        return value
    items = {key: plain(item) for key, item in value.items()}
    if list(items) == list(range(1, len(items) + 1)):
        return list(items.values())
    return items


def clean(made: Any, before: Any) -> Any:
    """As Argo CD does: an empty table may have been a map, and what was null is not there."""
    if isinstance(before, dict) and isinstance(made, dict):
        return {key: clean(value, before.get(key)) for key, value in made.items()}
    if isinstance(before, list) and isinstance(made, list):
        return [clean(a, b) for a, b in zip(made, before, strict=True)]
    return before if made == [] and before == {} else made


def act(name: str, obj: Object) -> Object:
    made: Object = clean(run(CUSTOMIZATION / f"actions/{name}/action.lua", obj), obj)
    return made


def offered(obj: Object) -> list[Object]:
    found = run(CUSTOMIZATION / "actions/discovery.lua", obj)
    return [{"name": name, **what} for name, what in sorted(found.items())] if found else []


def load(path: Path) -> Object:
    body: Object = yaml.safe_load(path.read_text())
    return body


@pytest.mark.parametrize("test", HEALTH, ids=lambda test: test["inputPath"])
def test_health(test: Object) -> None:
    found = run(CUSTOMIZATION / "health.lua", load(CUSTOMIZATION / test["inputPath"]))
    assert found == test["healthStatus"]


@pytest.mark.parametrize("test", ACTIONS["discoveryTests"], ids=lambda test: test["inputPath"])
def test_which_actions_are_offered(test: Object) -> None:
    assert offered(load(CUSTOMIZATION / "actions" / test["inputPath"])) == test["result"]


@pytest.mark.parametrize(
    "test", ACTIONS["actionTests"], ids=lambda test: f"{test['action']} {test['inputPath']}"
)
def test_what_an_action_does(test: Object) -> None:
    obj = load(CUSTOMIZATION / "actions" / test["inputPath"])
    wanted = load(CUSTOMIZATION / "actions" / test["expectedOutputPath"])
    assert act(test["action"], obj) == wanted


def test_every_file_is_of_a_test() -> None:
    named = {test["inputPath"] for test in HEALTH}
    assert {str(p.relative_to(CUSTOMIZATION)) for p in CUSTOMIZATION.glob("testdata/*")} == named
    tests = ACTIONS["discoveryTests"] + ACTIONS["actionTests"]
    named = {t[key] for t in tests for key in ("inputPath", "expectedOutputPath") if key in t}
    there = CUSTOMIZATION / "actions"
    assert {str(path.relative_to(there)) for path in there.glob("testdata/*")} == named


@pytest.mark.parametrize("phase", Phase)
def test_health_in_every_phase(phase: Phase) -> None:
    words = {
        Phase.SUCCEEDED: "Healthy",
        Phase.FAILED: "Degraded",
        Phase.SUSPENDED: "Suspended",
    }
    script = CUSTOMIZATION / "health.lua"
    health = run(script, phases.written(phase).body)
    assert health == {
        "status": words.get(phase, "Progressing"),
        "message": phases.STEPS[phase][2],
    }
    assert run(script, phases.edited(phase).body)["status"] == "Progressing"
    assert run(script, phases.deleted(phase).body)["status"] == "Progressing"


def decided(obj: Object, *, after: int = 2) -> steps.Action:
    return decide(Facts(NOW + timedelta(seconds=after), read_resource(obj)))


def test_the_operator_does_what_the_actions_are_called() -> None:
    copying, suspended = (phases.written(phase).body for phase in (Phase.COPYING, Phase.SUSPENDED))
    assert copying
    assert suspended
    assert decided(act("suspend", copying)).phase is Phase.SUSPENDED
    assert decided(act("resume", suspended)).reason is not Reason.SUSPENDED
    end = decided(act("terminate", copying))
    assert (end.phase, end.reason) == (Phase.ABORTING, Reason.DEADLINE_EXCEEDED)


def test_a_copy_that_has_failed_is_tried_again_once_for_each_failure():
    failed = phases.written(Phase.FAILED).body
    assert failed
    asked = act("retry", failed)
    step = decided(asked)
    assert isinstance(step, steps.Write)
    assert (step.phase, step.status.completion_time) == (Phase.PENDING, None)
    assert act("retry", asked) == asked
    asked["status"]["handledRetry"] = step.status.handled_retry
    assert isinstance(decided(act("retry", asked)), steps.Write), "it has failed in the same second"


def test_a_suspended_copy_that_is_terminated_is_resumed_for_its_deadline() -> None:
    suspended = phases.written(Phase.SUSPENDED).body
    assert suspended
    seen = Facts(NOW, read_resource(act("terminate", suspended)))
    step = decide(seen)
    assert isinstance(step, steps.Write)
    later = replace(
        seen,
        now=NOW + timedelta(seconds=1),
        resource=replace(seen.resource, status=step.status),
    )
    assert decide(later).reason is Reason.DEADLINE_EXCEEDED


def test_the_component_has_the_actions_as_they_are() -> None:
    assert VALUE.read_text() == actions(), "run `python -m dev.argocd`"
