"""What cannot be done ends in a condition that says why, and leaves nothing behind."""

import secrets
from contextlib import suppress

from dev import lab
from tests.cluster.world import LIGHT, MiB, World

LAST_PART = r"PUT .*partNumber=40&"


def test_a_missing_destination_bucket(world: World, data: bytes):
    world.copy("nowhere", "data", bucket="no-such-bucket")
    world.wait_condition("nowhere", "Failed", 60)
    assert world.reason("nowhere") == "BucketNotFound"
    assert "no-such-bucket" in world.message("nowhere")


def test_a_missing_source(world: World):
    world.copy("nothing", "no-such-key")
    world.wait_condition("nothing", "Failed", 60)
    assert world.reason("nothing") == "SourceNotFound"
    assert "no-such-key" in world.message("nothing")


def test_never_overwrite(world: World, data: bytes):
    world.destination.put_object(Bucket="dst", Key="kept", Body=b"kept")
    world.copy("never", "data", to="kept", overwrite="Never")
    world.wait_condition("never", "Failed", 60)
    assert world.reason("never") == "DestinationExists"
    assert world.destination.get_object(Bucket="dst", Key="kept")["Body"].read() == b"kept"


def test_a_source_that_changes_under_the_copy(world: World):
    world.put("moving", secrets.token_bytes(100 * MiB))
    world.destination_gate.hold(r"PUT .*partNumber=2&")
    world.copy("moving", "moving", parallelism=1, worker={"streams": 1})
    world.destination_gate.wait_held()
    world.put("moving", secrets.token_bytes(100 * MiB))
    world.destination_gate.open()
    world.wait_condition("moving", "Failed", 90)
    assert world.reason("moving") == "SourceChanged"
    assert world.status("moving")["progress"]["partsTotal"] == 20
    assert world.uploads("moving") == []
    assert not world.exists("moving")


def test_a_source_that_may_change_is_copied_as_it_is_then(world: World):
    world.begin("restless", parts="3", onSourceChange="Restart")
    world.wait_sending("restless")
    (upload,) = world.uploads("restless")
    digest = world.fill("restless")
    # The part that is held carries the old bytes; the next that is read does not any more.
    world.let_parts_go("restless", "drop")
    status = world.check_copied("restless", digest)
    assert (status["attempt"], status["sourceChanges"]["count"]) == (2, 1)
    assert status["upload"]["id"] != upload
    assert "SourceChanged" in world.reasons("restless")


def test_a_destination_written_before_the_copy_began_anew_is_left_alone(world: World):
    world.begin("overtaken", parts="3", onSourceChange="Restart")
    world.wait_sending("overtaken")
    world.fill("overtaken")
    world.destination.put_object(Bucket="dst", Key="overtaken", Body=b"theirs")
    world.let_parts_go("overtaken", "drop")
    world.wait_condition("overtaken", "Failed", 90)
    assert world.reason("overtaken") == "DestinationChanged"
    assert world.destination.get_object(Bucket="dst", Key="overtaken")["Body"].read() == b"theirs"
    assert world.uploads("overtaken") == []


def test_a_destination_that_somebody_else_writes(world: World, data: bytes):
    world.destination_gate.hold(LAST_PART)
    world.copy("raced", "data", to="raced")
    world.destination_gate.wait_held()
    world.destination.put_object(Bucket="dst", Key="raced", Body=b"theirs")
    world.destination_gate.open()
    world.wait_condition("raced", "Failed", 90)
    assert world.reason("raced") == "DestinationChanged"
    assert world.destination.get_object(Bucket="dst", Key="raced")["Body"].read() == b"theirs"
    assert world.uploads("raced") == []


def test_a_deadline(world: World, data: bytes):
    world.destination_gate.hold(LAST_PART)
    world.copy("late", "data", to="late")
    world.destination_gate.wait_held()
    world.patch("late", activeDeadlineSeconds=1)
    world.wait_condition("late", "Failed", 90)
    assert world.reason("late") == "DeadlineExceeded"
    assert world.uploads("late") == []
    assert not world.exists("late")


def stored(world: World, upload: str) -> int:
    """How many parts."""
    answer = world.destination.list_parts(Bucket="dst", Key="lost", UploadId=upload)
    return len(answer.get("Parts", []))


def test_an_upload_that_a_stranger_aborts_is_begun_again(world: World, data: bytes, sha256: str):
    world.destination_gate.hold(LAST_PART)
    world.copy("lost", "data", to="lost")
    world.destination_gate.wait_held()
    (upload,) = world.uploads("lost")
    # versitygw lets a part that it is just taking in bring an aborted upload back, without its checksum mode.
    lab.wait_until("all parts but the last", lambda: stored(world, upload) == 39, 60)
    world.destination.abort_multipart_upload(Bucket="dst", Key="lost", UploadId=upload)
    world.destination_gate.open()
    status = world.wait_condition("lost", "Complete")
    assert status["attempt"] == 2
    assert world.sha256("lost") == sha256


def test_an_upload_that_a_part_brings_back_is_begun_again(world: World):
    """The store is just taking the part in when a stranger aborts: it then refuses to complete the upload."""
    digest = world.fill("revived")
    slow = {"kind": "stall", "at": "request-body", "after": 5 * MiB - 1000, "seconds": 10}
    match = r"^PUT /dst/revived\?.*partNumber=1&"
    world.destination_gate.add({"name": "slow", "match": match, "times": 1, "do": slow})
    world.copy("revived", "revived", parallelism=1, worker=LIGHT)

    def the_others() -> str | None:
        for upload in world.uploads("revived"):
            answer = world.destination.list_parts(Bucket="dst", Key="revived", UploadId=upload)
            if len(answer.get("Parts", [])) == 3:
                return upload
        return None

    upload = lab.wait_until("all parts but the first", the_others, 60)
    # Else the operator may see in between that it is gone.
    world.destination_gate.hold(r"^GET /dst/revived\?.*uploadId=")
    world.destination.abort_multipart_upload(Bucket="dst", Key="revived", UploadId=upload)

    def back() -> bool:
        """It is not in the list of uploads, but it takes parts."""
        with suppress(world.destination.exceptions.ClientError):
            parts = world.destination.list_parts(Bucket="dst", Key="revived", UploadId=upload)
            return len(parts.get("Parts", [])) == 1
        return False

    lab.wait_until("the upload back", back, 60)
    world.destination_gate.open()
    status = world.check_copied("revived", digest)
    assert (status["attempt"], status["lostUploads"]) == (2, 1)
    assert "UploadLost" in world.reasons("revived")


def test_a_time_to_live_after_the_end(world: World, data: bytes):
    world.copy("brief", "data", to="brief", ttlSecondsAfterFinished=0)

    def gone() -> bool:
        return not lab.get("--namespace", world.namespace, "mpc", "--ignore-not-found")[
            "items"
        ] or all(
            item["metadata"]["name"] != "brief"
            for item in lab.get("--namespace", world.namespace, "mpc")["items"]
        )

    lab.wait_until("the resource gone", gone, 90)
    assert world.exists("brief")
