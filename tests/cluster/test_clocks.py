"""The operator's clock is ten minutes off: ahead, behind, and set right while copies run."""

import base64
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from dev import lab
from dev.cluster import prereqs
from tests.cluster.processes import Operator
from tests.cluster.world import World

LIBRARY = "libfaketime.so.1"
POD, CONTAINER = "/spec/template/spec", "/spec/template/spec/containers/0"


@pytest.fixture
def set_clock(operator: Operator) -> Iterator[Callable[[str], None]]:
    """Gives the operator another clock; afterwards it has the right one."""
    prereqs.install(prereqs.TEST_PACKAGES)
    (library,) = Path("/usr/lib").glob(f"*/faketime/{LIBRARY}")
    content = base64.b64encode(library.read_bytes()).decode()
    lab.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "faketime"},
            "binaryData": {LIBRARY: content},
        },
        namespace=lab.SYSTEM,
    )
    right = operator.template()

    def set_to(offset: str) -> None:
        environment = {
            "LD_PRELOAD": f"/faketime/{LIBRARY}",
            "FAKETIME": offset,
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        operator.patch(
            *(
                {"op": "add", "path": f"{CONTAINER}/env/-", "value": {"name": n, "value": v}}
                for n, v in environment.items()
            ),
            {
                "op": "add",
                "path": f"{CONTAINER}/volumeMounts/-",
                "value": {"name": "faketime", "mountPath": "/faketime"},
            },
            {
                "op": "add",
                "path": f"{POD}/volumes/-",
                "value": {"name": "faketime", "configMap": {"name": "faketime"}},
            },
        )

    yield set_to
    operator.set_template(right)


@pytest.mark.parametrize("offset", ["+10m", "-10m"])
def test_a_clock_that_is_wrong(
    world: World, operator: Operator, set_clock: Callable[[str], None], offset: str
):
    way = "ahead" if offset.startswith("+") else "behind"
    right = operator.template()
    set_clock(offset)
    late, begun, unwanted, whole = (f"{what}-{way}" for what in ("late", "begun", "bin", "whole"))
    world.begin(late, activeDeadlineSeconds=5)
    world.begin(unwanted)
    halted = world.begin(begun)
    digest = world.fill(whole)
    world.copy(whole, whole)
    world.check_copied(whole, digest)
    assert_off_by(world, whole, 600 if way == "ahead" else -600)
    world.wait_condition(late, "Failed", 60)
    assert world.reason(late) == "DeadlineExceeded"
    world.wait_sending(unwanted)
    world.delete(unwanted)
    world.wait_sending(begun)
    operator.set_template(right)
    world.let_parts_go(begun)
    world.check_copied(begun, halted)
    for name in (late, unwanted):
        assert not world.exists(name)
        world.wait_no_upload(name)


def assert_off_by(world: World, name: str, seconds: int) -> None:
    """Else the library was not loaded, and nothing was tried."""
    body = world.get(name)
    created = datetime.fromisoformat(body["metadata"]["creationTimestamp"])
    completed = datetime.fromisoformat(body["status"]["completionTime"])
    assert abs((completed - created).total_seconds() - seconds) < 200
