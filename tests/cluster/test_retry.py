"""What has failed keeps its upload where that is asked for, and begins again when somebody says so."""

from dev import lab
from tests.cluster.gates import holding
from tests.cluster.processes import Operator
from tests.cluster.world import World

RETRY = "multipartcopy.dev/retry"
RETRIED = r'"add", "path": "/status/handledRetry"'
RESUMED = r'"replace", "path": "/status/resuming", "value": false'


def retry(world: World, name: str, value: str) -> None:
    lab.kubectl(
        *("--namespace", world.namespace, "annotate", "multipartcopy", name),
        *("--overwrite", f"{RETRY}={value}"),
    )


def fail_half_way(world: World, name: str) -> tuple[str, str]:
    """By its deadline, with all parts but one in the ledger; the object's sha256 and its upload."""
    digest = world.begin(name, parts="3", onFailure="Keep")
    world.wait_sending(name)
    lab.wait_until(
        "a ledger of 3 parts",
        lambda: world.status(name).get("progress", {}).get("partsDone") == 3,
        60,
    )
    (upload,) = world.uploads(name)
    world.patch(name, activeDeadlineSeconds=1)
    status = world.wait_condition(name, "Failed", 90)
    assert world.reason(name) == "DeadlineExceeded"
    assert f"multipart upload {upload} of" in world.message(name)
    assert status["upload"]["id"] == upload
    assert world.uploads(name) == [upload]
    world.let_parts_go(name, "drop")
    world.patch(name, activeDeadlineSeconds=None)
    return digest, upload


def kept(operator: Operator) -> list[str]:
    lines = operator.metrics().splitlines()
    return [line for line in lines if line.startswith("multipartcopy_uploads_kept ")]


def test_a_kept_upload_is_taken_up_again(world: World, operator: Operator):
    digest, upload = fail_half_way(world, "kept")
    assert kept(operator) == ["multipartcopy_uploads_kept 1.0"]
    ended = world.status("kept")["completionTime"]
    sent = len(world.destination_gate.log(r"^PUT /dst/kept\?"))
    retry(world, "kept", "1")
    status = world.check_copied("kept", digest)
    assert (status["upload"]["id"], status["attempt"], status["handledRetry"]) == (upload, 1, "1")
    assert status["completionTime"] >= ended
    assert len(world.destination_gate.log(r"^PUT /dst/kept\?")) == sent + 1
    assert kept(operator) == ["multipartcopy_uploads_kept 0.0"]
    retry(world, "kept", "2")
    assert world.get("kept")["status"] == status


def test_the_operator_dies_between_the_request_and_the_upload_taken_up(
    world: World, operator: Operator
):
    digest, upload = fail_half_way(world, "kept-through-deaths")
    path = r"^PATCH .*/kept-through-deaths/status$"
    for body, how, at in (
        (RETRIED, "drop", "request"),
        (RETRIED, "forward", "answer"),
        (RESUMED, "drop", "request"),
        (RESUMED, "forward", "answer"),
    ):
        world.api_gate.add(holding("death", path, at=at, body=body))
        retry(world, "kept-through-deaths", "1")
        world.api_gate.wait_held(name="death")
        operator.kill()
        world.api_gate.remove({"death"})
        world.api_gate.release(how, "death")
    status = world.check_copied("kept-through-deaths", digest)
    assert (status["upload"]["id"], status["attempt"]) == (upload, 1)


def test_a_kept_upload_goes_with_its_resource(world: World):
    fail_half_way(world, "kept-and-deleted")
    world.delete("kept-and-deleted")
    assert world.uploads("kept-and-deleted") == []


def test_a_kept_upload_goes_when_it_shall_not_be_kept_any_more(world: World):
    fail_half_way(world, "kept-no-more")
    world.patch("kept-no-more", onFailure="Abort")
    world.wait_no_upload("kept-no-more")
    status = world.wait_condition("kept-no-more", "Failed")
    assert "upload" not in status
    lab.wait_until(
        "no finalizer", lambda: "finalizers" not in world.get("kept-no-more")["metadata"], 30
    )


def test_a_kept_upload_of_another_source_is_of_no_use(world: World):
    _, upload = fail_half_way(world, "kept-in-vain")
    digest = world.fill("kept-in-vain")
    retry(world, "kept-in-vain", "1")
    status = world.check_copied("kept-in-vain", digest)
    assert status["attempt"] == 2
    assert status["upload"]["id"] != upload


def test_what_has_kept_nothing_begins_anew(world: World):
    world.copy("anew", "anew")
    world.wait_condition("anew", "Failed", 60)
    assert world.reason("anew") == "SourceNotFound"
    digest = world.fill("anew")
    retry(world, "anew", "1")
    world.check_copied("anew", digest)
    assert {"SourceNotFound", "Copied"} <= world.reasons("anew")
