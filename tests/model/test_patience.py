"""What is undone in the end, and how long that is tried; what is never taken for done, or taken away."""

from collections.abc import Callable
from typing import NoReturn

import pytest

from multipartcopy.api.spec import Overwrite
from multipartcopy.s3.errors import Kind
from tests.model.store import Bucket, Habits, Weather
from tests.model.wire import Fault, What, script
from tests.model.world import KEY, World

Begin = Callable[..., World]


def to_the_end(world: World) -> None:
    for _ in range(6):
        world.copy_on()
        world.time_passes(30)
        world.operator(0)


@pytest.mark.parametrize("size", [0, 10])
@pytest.mark.parametrize("metadata", [True, False])
def test_an_equal_object_of_before_is_not_what_was_asked_for(
    begin: Begin, size: int, metadata: bool
):
    """With Always it is made anew, whatever came of the first completion."""
    world = begin(
        size=size,
        destination="equal",
        overwrite=Overwrite.ALWAYS,
        habits=Habits(metadata=metadata),
    )
    lost = script(complete=Fault(What.LOST), put_empty=Fault(What.LOST))
    world.operator(0, lost)
    world.copy_on()
    world.operator(0, lost)
    to_the_end(world)
    assert world.status["phase"] == "Succeeded"
    assert world.destination.objects[KEY].ours


@pytest.mark.parametrize("size", [0, 10])
def test_an_equal_object_whose_answer_was_lost_is_known_by_its_stamp(begin: Begin, size: int):
    world = begin(size=size, destination="equal", overwrite=Overwrite.ALWAYS)
    lost = script(complete=Fault(What.ANSWER_LOST), put_empty=Fault(What.ANSWER_LOST))
    world.operator(0, lost)
    world.copy_on()
    world.operator(0, lost)
    assert world.status["phase"] == "Succeeded"
    assert world.status["attempt"] == 1


def begun(world: World) -> str:
    """With an upload, which it names."""
    world.operator(0)
    world.controller_syncs()
    return str(world.status["upload"]["id"])


def test_after_a_night_an_abort_is_tried_as_long_as_ever(begin: Begin):
    """The operator comes back before the store does."""
    world = begin()
    upload = begun(world)
    world.resource_deleted()
    world.kill(0)
    world.time_passes(8 * 3600)
    world.weather("destination", Weather.DOWN)
    for _ in range(20):
        world.time_passes(60)
        world.operator(0)
        world.copy_on()
    assert world.status is not None
    world.weather("destination", Weather.FINE)
    to_the_end(world)
    assert upload in world.destination.aborted
    assert world.status is None


def test_an_abort_is_not_tried_for_ever(begin: Begin):
    world = begin()
    upload = begun(world)
    world.resource_deleted()
    world.weather("destination", Weather.DOWN)
    for _ in range(60):
        world.time_passes(60)
        world.operator(0)
        world.copy_on()
    assert world.status is None
    assert any(upload in event["message"] for event in world.cluster.events)
    world.weather("destination", Weather.FINE)
    world.stranger_aborts()


def no_bucket(*_: object) -> NoReturn:
    bucket = Bucket("destination", *[lambda *_: None] * 4, Habits())  # type: ignore[list-item]
    bucket._refuse("ListMultipartUploads", Kind.NO_BUCKET, "NoSuchBucket")


def test_uploads_go_with_their_bucket(begin: Begin, monkeypatch: pytest.MonkeyPatch):
    world = begin()
    begun(world)
    world.destination.uploads.clear()
    for call in ("list_uploads", "list_parts", "head"):
        monkeypatch.setattr(world.destination, call, no_bucket)
    to_the_end(world)
    assert world.status["phase"] == "Failed"
    assert world.status["conditions"][0]["reason"] == "BucketNotFound"
    assert not any(event["reason"] == "UploadLeftBehind" for event in world.cluster.events)
    monkeypatch.undo()


@pytest.mark.parametrize("ttl", [None, 86400])
def test_nothing_is_kept_in_memory_of_what_has_ended(begin: Begin, ttl: int | None):
    """Of a finished copy the ledger may be half a megabyte, and there may be thousands."""
    world = begin(ttl=ttl)
    world.operator(0)
    world.copy_on()
    to_the_end(world)
    assert world.status["phase"] == "Succeeded"
    memory = world.processes[0].memory
    assert (memory.last, memory.gone_pods, memory.access) == (None, {}, {})
    assert memory.ended
