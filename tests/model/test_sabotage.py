"""That the model sees what it is there to see: the code with one thing taken away, and the story that shows it."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest

from multipartcopy.reconcile import act, decide, observe, outcome, settle
from tests.model.store import Conditions, Habits
from tests.model.wire import Fault, What, script
from tests.model.world import Scenario, ViolationError, World


def runs_on(world: World) -> None:
    world.operator(0)
    for _ in range(2):
        world.pods_send()
        world.time_passes(30)
        world.operator(0)
        world.pod(0, "ends")


def fails(world: World) -> None:
    world.operator(0)
    world.source_changes()
    world.copy_on()


def is_overtaken(world: World) -> None:
    world.operator(0)
    world.stranger_writes(equal=False)


def loses_its_upload(world: World) -> None:
    world.operator(0)
    world.pods_send()
    world.edit("without upload")


def is_adopted(world: World) -> None:
    world.operator(0, script(create_upload=Fault(What.LOST)))


@pytest.mark.parametrize(
    ("where", "name", "instead", "story", "seen"),
    [
        (decide, "_clear", None, runs_on, "is running"),
        (act.Effects, "_gone", True, fails, "left behind"),
        (settle, "judge", settle.Verdict.OURS, is_overtaken, "Complete, and what is there"),
        (settle, "changed_under_us", None, is_overtaken, "was overwritten"),
        (observe, "_strays", set(), loses_its_upload, "left behind"),
        (
            outcome,
            "our_uploads",
            ["upload-1"],
            is_adopted,
            "a stranger's upload upload-1 was aborted",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_is_seen(where: Any, name: str, instead: Any, story: Callable[[World], None], seen: str):
    habits = Habits(md5=False, conditions=Conditions.REFUSED)
    world = World(Scenario(habits=habits, uploads=1))

    def live() -> None:
        story(world)
        world.check()
        world.check_end()

    try:
        with (
            patch.object(where, name, lambda *_, **__: instead),
            pytest.raises(ViolationError, match=seen),
        ):
            live()
    finally:
        world.close()
