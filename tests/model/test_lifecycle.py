"""What a copy goes through besides copying: it fails and keeps its upload, is tried again, begins anew."""

from collections.abc import Callable

import pytest

from multipartcopy.api.spec import OnFailure, OnSourceChange, VerificationMode
from tests.model.store import Habits, Weather
from tests.model.wire import Fault, What, script
from tests.model.world import PART_SIZE, World

Begin = Callable[..., World]
KEEP, RESTART = OnFailure.KEEP, OnSourceChange.RESTART


def fails_half_way(world: World) -> str:
    """With one part in the ledger; its upload."""
    world.operator(0)
    world.controller_syncs()
    world.pod(0, "starts")
    world.node_sends(0)
    world.pod(0, "killed")
    world.time_passes(1)
    world.operator(0)
    world.weather("destination", Weather.DENIED)
    for _ in range(4):
        world.time_passes(400)
        world.operator(0)
        world.copy_on()
    world.weather("destination", Weather.FINE)
    world.operator(0)
    return str((world.status or {}).get("upload", {}).get("id"))


def ends(world: World) -> None:
    for _ in range(20):
        world.time_passes(400)
        world.operator(0)
        world.copy_on()


def test_a_kept_upload_is_taken_up_again(begin: Begin):
    world = begin(on_failure=KEEP)
    upload = fails_half_way(world)
    assert world.kept
    assert upload in world.status["conditions"][0]["message"]
    ledger = world.status["batches"]
    assert ledger
    world.retry("1")
    world.operator(0)
    assert (world.status["attempt"], world.status["batches"]) == (1, ledger)
    ends(world)
    assert world.status["phase"] == "Succeeded"
    assert world.uploads_recorded == [upload]


def test_one_value_asks_once(begin: Begin):
    world = begin(on_failure=KEEP, retry="1")
    upload = fails_half_way(world)
    assert (world.kept, world.status["handledRetry"]) == (True, "1")
    world.retry("1")
    world.operator(0)
    assert world.kept
    assert world.status["upload"]["id"] == upload


def test_what_is_asked_while_it_is_given_up_is_done_when_it_has_failed(begin: Begin):
    world = begin()
    world.operator(0)
    world.source_changes()
    world.copy_on()
    world.operator(0, script(abort=Fault(What.LOST)))
    assert "failing" in world.status
    world.retry("1")
    ends(world)
    assert world.status["phase"] == "Succeeded"


def test_without_a_kept_upload_it_begins_anew(begin: Begin):
    world = begin()
    fails_half_way(world)
    assert world.status["phase"] == "Failed"
    assert not world.destination.uploads
    world.source_changes()
    world.retry("1")
    ends(world)
    assert (world.status["phase"], world.status["attempt"]) == ("Succeeded", 2)


def test_a_kept_upload_of_another_source_is_aborted(begin: Begin):
    world = begin(on_failure=KEEP)
    upload = fails_half_way(world)
    world.source_changes()
    world.retry("1")
    world.operator(0)
    assert upload not in world.destination.uploads
    ends(world)
    assert (world.status["phase"], world.status["attempt"]) == ("Succeeded", 2)


def test_a_kept_upload_that_is_gone_is_made_anew(begin: Begin):
    world = begin(on_failure=KEEP)
    fails_half_way(world)
    world.stranger_aborts()
    world.retry("1")
    ends(world)
    assert world.status["phase"] == "Succeeded"


def test_a_destination_written_after_the_failure_is_replaced_by_who_tries_again(begin: Begin):
    world = begin(on_failure=KEEP)
    fails_half_way(world)
    world.stranger_writes()
    world.retry("1")
    ends(world)
    assert world.status["phase"] == "Succeeded"


def test_a_kept_upload_is_aborted_when_it_shall_not_be_kept_any_more(begin: Begin):
    world = begin(on_failure=KEEP)
    upload = fails_half_way(world)
    world.weather("destination", Weather.DOWN)
    world.on_failure(OnFailure.ABORT)
    world.operator(0)
    assert world.kept
    world.weather("destination", Weather.FINE)
    world.operator(0)
    assert upload not in world.destination.uploads
    assert world.status["phase"] == "Failed"


def test_a_time_to_live_ends_what_is_kept(begin: Begin):
    world = begin(on_failure=KEEP, ttl=60)
    fails_half_way(world)
    world.time_passes(100)
    world.operator(0)
    assert world.status is None
    assert not world.destination.uploads


@pytest.mark.parametrize("what", list(What))
@pytest.mark.parametrize(
    "call", ["patch_copy_status", "upload_exists", "head", "list_uploads", "list_copies"]
)
@pytest.mark.parametrize("nth", [0, 1])
def test_whatever_is_lost_on_the_way_back(begin: Begin, call: str, what: What, nth: int):
    world = begin(on_failure=KEEP, size=5 * PART_SIZE)
    upload = fails_half_way(world)
    assert world.kept
    world.retry("1")
    world.operator(0, script(**{f"{call}_{nth}" if nth else call: Fault(what)}))
    ends(world)
    assert world.status["phase"] == "Succeeded"
    assert world.uploads_recorded == [upload]


@pytest.mark.parametrize("what", list(What))
@pytest.mark.parametrize("call", ["patch_copy_status", "upload_exists", "abort"])
def test_whatever_is_lost_when_another_source_is_found(begin: Begin, call: str, what: What):
    world = begin(on_failure=KEEP)
    fails_half_way(world)
    world.source_changes()
    world.retry("1")
    world.operator(0, script(**{call: Fault(what)}))
    ends(world)
    assert world.status["phase"] == "Succeeded"


def changes_half_way(world: World) -> None:
    """Its workers find it out."""
    world.operator(0)
    world.controller_syncs()
    world.pod(0, "starts")
    world.node_sends(0)
    world.source_changes()
    world.copy_on()


def test_a_copy_begins_anew_when_its_source_changes(begin: Begin):
    world = begin(on_source_change=RESTART)
    changes_half_way(world)
    world.operator(0)
    assert (world.status["phase"], world.status["attempt"]) == ("Copying", 2)
    assert list(world.destination.uploads) == [world.uploads_recorded[1]]
    ends(world)
    assert world.status["phase"] == "Succeeded"
    assert world.status["sourceChanges"] == {"count": 1}


def test_it_does_not_begin_anew_for_ever(begin: Begin):
    world = begin(on_source_change=RESTART)
    for _ in range(5):
        changes_half_way(world)
    world.operator(0)
    assert world.status["phase"] == "Failed"
    assert world.status["conditions"][0]["message"].endswith("; it has changed 4 times")
    world.retry("1")
    ends(world)
    assert world.status["phase"] == "Succeeded"


def test_what_somebody_has_written_before_it_began_anew_is_left_alone(begin: Begin):
    world = begin(on_source_change=RESTART)
    changes_half_way(world)
    world.stranger_writes()
    world.operator(0)
    assert world.status["phase"] == "Failed"
    assert world.status["conditions"][0]["reason"] == "DestinationChanged"


def test_an_empty_copy_begins_anew(begin: Begin):
    world = begin(size=0, on_source_change=RESTART, source_habits=Habits(md5=False))
    world.operator(0, script(head_3=Fault(meanwhile=(("source_changes",),))))
    assert (world.status["phase"], world.status["attempt"]) == ("Succeeded", 2)


def test_a_source_that_changes_when_its_copy_is_there_is_a_failure(begin: Begin):
    world = begin(on_source_change=RESTART, within=True, verification=VerificationMode.READ_BACK)
    world.operator(0)
    world.copy_on()
    world.operator(0)
    assert "destinationReading" in world.status
    world.source_changes()
    world.copy_on()
    world.operator(0)
    assert world.status["conditions"][0]["reason"] == "SourceChanged"
    assert world.status["phase"] == "Failed"


CALLS = {"patch_copy_status": 5, "delete_job": 1, "abort": 1, "upload_exists": 1, "head": 3}


@pytest.mark.parametrize("what", list(What))
@pytest.mark.parametrize(
    "call",
    [f"{name}_{nth}" if nth else name for name, count in CALLS.items() for nth in range(count)],
)
def test_whatever_is_lost_when_it_begins_anew(begin: Begin, call: str, what: What):
    world = begin(on_source_change=RESTART)
    changes_half_way(world)
    world.operator(0, script(**{call: Fault(what)}))
    ends(world)
    assert world.status["phase"] == "Succeeded"
    assert world.status["sourceChanges"] == {"count": 1}


@pytest.mark.parametrize("what", list(What))
@pytest.mark.parametrize("call", ["complete", "list_parts", "abort", "patch_copy_status"])
def test_an_upload_that_a_part_has_brought_back_is_replaced(begin: Begin, call: str, what: What):
    world = begin(habits=Habits(revives=True))
    world.operator(0)
    world.pods_send()
    world.controller_syncs()
    upload = world.uploads_recorded[0]
    held = world.destination.uploads[upload].parts
    world.stranger_aborts()
    for number, (data, _) in held.items():
        world.destination.upload_part(upload, number, data)
    world.copy_on()
    world.operator(0, script(**{call: Fault(what)}))
    ends(world)
    assert (world.status["phase"], world.status["attempt"]) == ("Succeeded", 2)
    assert world.status["lostUploads"] == 1


def test_an_upload_that_is_brought_back_each_time_is_given_up(begin: Begin):
    world = begin(habits=Habits(revives=True))
    for _ in range(4):
        world.operator(0)
        world.pods_send()
        held = {key: dict(upload.parts) for key, upload in world.destination.uploads.items()}
        world.stranger_aborts()
        for upload, parts in held.items():
            for number, (data, _) in parts.items():
                world.destination.upload_part(upload, number, data)
        world.copy_on()
    world.operator(0)
    assert world.status["conditions"][0]["reason"] == "UploadLost"
    assert "was not as it was created" in world.status["conditions"][0]["message"]
    assert not world.destination.uploads


def test_another_try_has_the_grace_of_the_first(begin: Begin):
    """A refusal of an hour ago says nothing of the keys that were mended meanwhile."""
    world = begin()
    world.weather("source", Weather.DENIED)
    for _ in range(4):
        world.operator(0)
        world.time_passes(200)
    assert world.status["phase"] == "Failed"
    world.time_passes(3600)
    world.retry("1")
    world.operator(0)
    assert world.status["phase"] == "Pending"
    world.weather("source", Weather.FINE)
    ends(world)
    assert world.status["phase"] == "Succeeded"


@pytest.mark.parametrize("call", ["get_copy_5", "list_pods_4", "create_event_1"])
def test_a_finalizer_is_not_taken_from_a_copy_that_lives_again(begin: Begin, call: str):
    """One operator is about to let a failed copy go, another takes it up meanwhile."""
    world = begin()
    world.operator(0)
    world.source_changes()
    world.copy_on()
    again = Fault(meanwhile=(("retry", "1"), ("operator", 1)))
    world.operator(0, script(**{call: again}))
    copy = world.cluster.copies["copy"]
    assert not world.status.get("upload") or copy["metadata"].get("finalizers")
    ends(world)


def test_resuming_without_a_pin_begins_anew(begin: Begin):
    world = begin()
    world.edited = True
    world.cluster.edit_status("copy", lambda status: {**status, "resuming": True})
    ends(world)
    assert world.status["phase"] == "Succeeded"
