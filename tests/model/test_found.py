"""What the machine has found, each as the shortest story that shows it."""

from collections.abc import Callable

import pytest

from multipartcopy.api.spec import OnFailure
from tests.model.store import Habits
from tests.model.wire import Fault, What, script
from tests.model.world import World

Begin = Callable[..., World]


def test_an_empty_copy_that_fails_comes_to_rest(begin: Begin):
    world = begin(size=0, source_habits=Habits(md5=False))
    world.operator(0, script(head_3=Fault(meanwhile=(("source_changes",),))))
    assert world.status["conditions"][0]["reason"] == "SourceChanged"
    assert world.status["phase"] == "Failed"


def test_an_upload_that_lost_a_race_is_aborted_though_the_store_is_away(begin: Begin):
    world = begin()
    other = Fault(meanwhile=(("operator", 1),))
    world.operator(0, script(create_upload=other, abort=Fault(What.LOST)))


def test_an_upload_that_lost_a_race_is_named_though_its_maker_died(begin: Begin):
    world = begin()
    other = Fault(meanwhile=(("operator", 1),))
    world.operator(0, script(create_upload=other, abort=Fault(What.CRASH_BEFORE)))


@pytest.mark.parametrize("field", ["plan", "source", "claim", "upload", "ledger"])
def test_what_an_edited_status_lacks_is_made_anew(begin: Begin, field: str):
    world = begin()
    world.operator(0)
    world.controller_syncs()
    world.pod(0, "starts")
    world.node_sends(0)
    world.operator(0)
    world.edit(f"without {field}")


@pytest.mark.parametrize("field", ["plan", "source", "claim", "upload", "ledger"])
def test_nothing_is_published_on_what_an_edited_status_lacks(begin: Begin, field: str):
    world = begin()
    world.operator(0)
    world.copy_on()
    world.operator(0, script(complete=Fault(What.CRASH_BEFORE)))
    assert "completing" in world.status
    world.edit(f"without {field}")


@pytest.mark.parametrize("fields", [["claim"], ["source", "claim"], ["claim", "plan"]])
def test_parts_of_another_source_are_never_mixed_in(begin: Begin, fields: list[str]):
    world = begin()
    world.operator(0)
    world.controller_syncs()
    world.pod(0, "starts")
    world.node_sends(0)
    world.operator(0)
    for field in fields:
        world.edit(f"without {field}")
    world.source_changes()


def test_a_failing_copy_aborts_its_upload_though_its_claim_was_edited_away(begin: Begin):
    world = begin()
    world.operator(0)
    world.source_changes()
    world.copy_on()
    world.operator(0, script(abort=Fault(What.LOST)))
    assert "failing" in world.status
    world.edit("without claim")


def test_an_upload_has_its_finalizer_though_the_status_of_a_copy_that_had_ended_was_edited(
    begin: Begin,
):
    habits = Habits(checksum=False, repeats=False, md5=False, metadata=False)
    world = begin(on_failure=OnFailure.KEEP, habits=habits, source_habits=habits)
    world.operator(0)
    world.copy_on()
    world.operator(0)
    assert world.status["phase"] == "Succeeded"
    world.edit("failed")
    world.stranger_writes()


def test_an_object_removed_after_a_lost_answer_is_not_waited_for_without_end(begin: Begin):
    """A store that repeats its 200 does so whatever has become of the object."""
    world = begin()
    world.operator(0)
    world.copy_on()
    world.operator(0, script(complete=Fault(What.CRASH_AFTER)))
    world.stranger_removes()
    world.operator(0)
    assert world.status["phase"] == "Completing"


def test_a_source_that_changed_is_seen_though_the_store_copies_whatever_is_there(begin: Begin):
    world = begin(within=True, habits=Habits(pins=False))
    world.operator(0)
    world.controller_syncs()
    world.pod(0, "starts")
    world.node_sends(0)
    world.source_changes()
    world.copy_on()
    world.operator(0)
    world.copy_on()
    world.operator(0)
    assert world.status["conditions"][0]["reason"] == "SourceChanged"
    assert world.destination.objects == {}
