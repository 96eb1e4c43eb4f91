"""The main job: real objects, real pods under real limits."""

import hashlib
import secrets

import pytest

from dev import lab
from tests.cluster.world import MiB, World


def test_200_mib_through_64_mib_pods(world: World, data: bytes, sha256: str):
    world.copy("main", "data", to="main")
    status = world.wait_condition("main", "Complete")
    assert world.sha256("main") == sha256
    assert world.uploads("main") == []
    etags = [etag for batch in status["batches"].values() for etag in batch["etags"]]
    expected = [
        hashlib.md5(data[i : i + 5 * MiB], usedforsecurity=False).hexdigest()
        for i in range(0, len(data), 5 * MiB)
    ]
    assert etags == expected
    assert status["plan"] == {
        "partSize": 5 * MiB,
        "partCount": 40,
        "batchSize": 10,
        "batchCount": 4,
    }
    assert status["progress"]["percent"] == 100
    assert status["destination"]["etag"].endswith("-40")
    conditions = {c["type"]: c["status"] for c in status["conditions"]}
    assert conditions == {
        "Complete": "True",
        "Failed": "False",
        "Ready": "True",
        "Reconciling": "False",
        "Stalled": "False",
    }
    lab.wait_until("nothing left of the run", lambda: not world.pods("main"), 60)
    assert "finalizers" not in world.get("main")["metadata"]


def test_parts_of_512_mib_through_64_mib_pods(world: World):
    block = secrets.token_bytes(64 * MiB)
    blocks = [block] * 9 + [b"the end"]
    upload = world.source.create_multipart_upload(Bucket="src", Key="large")["UploadId"]
    digest = hashlib.sha256()
    parts = []
    for number, part in enumerate(blocks, 1):
        digest.update(part)
        answer = world.source.upload_part(
            Bucket="src", Key="large", UploadId=upload, PartNumber=number, Body=part
        )
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    world.source.complete_multipart_upload(
        Bucket="src", Key="large", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    world.copy("large", "large", partSize="512Mi")
    status = world.wait_condition("large", "Complete", 180)
    assert status["plan"]["partCount"] == 2
    assert "lastFailure" not in status
    assert world.sha256("large") == digest.hexdigest()


def test_within_one_store_no_byte_passes_the_pods(world: World, data: bytes, sha256: str):
    world.destination.put_object(Bucket="dst", Key="origin", Body=data)
    world.copy("within", "origin", to="within", within=True)
    status = world.wait_condition("within", "Complete")
    assert world.sha256("within") == sha256
    assert world.uploads("within") == []
    assert (status["mode"], status["plan"]["partCount"]) == ("ServerSide", 40)
    assert status["verification"]["result"] == "Verified"
    assert "by ServerSide" in world.message("within")
    parts = world.destination_gate.log(r"^PUT /dst/within\?.*partNumber=")
    assert len(parts) >= 40
    assert sum(entry["request_bytes"] for entry in parts) == 0
    read = world.destination_gate.log("^GET /dst/origin$")
    assert sum(entry["answer_bytes"] for entry in read) == 0
    table = lab.kubectl("--namespace", world.namespace, "get", "mpc", "within", "--output=wide")
    assert "ServerSide" in table


@pytest.mark.parametrize("size", [0, 1, 5 * MiB])
def test_small_objects(world: World, size: int):
    key = f"size-{size}"
    content = secrets.token_bytes(size)
    world.source.put_object(
        Bucket="src", Key=key, Body=content, ContentType="text/x", Metadata={"who": "me"}
    )
    world.copy(key, key)
    status = world.wait_condition(key, "Complete", 60)
    assert status["plan"]["partCount"] == (1 if size else 0)
    answer = world.destination.get_object(Bucket="dst", Key=key)
    assert answer["Body"].read() == content
    assert answer["ContentType"] == "text/x"
    assert answer["Metadata"]["who"] == "me"


def test_an_equal_destination_is_success_without_a_byte(world: World, data: bytes, sha256: str):
    world.copy("first", "data", to="twice")
    world.wait_condition("first", "Complete")
    world.copy("second", "data", to="twice")
    status = world.wait_condition("second", "Complete", 30)
    assert world.reason("second") == "AlreadyEqual"
    assert "upload" not in status
    assert status["attempt"] == 0
    assert world.sha256("twice") == sha256


def test_always_replaces_an_equal_object_too(world: World, data: bytes, sha256: str):
    world.destination.put_object(Bucket="dst", Key="again", Body=data)
    world.copy("again", "data", to="again", overwrite="Always")
    status = world.wait_condition("again", "Complete")
    assert status["destination"]["etag"].endswith("-40")
    assert world.sha256("again") == sha256
    assert world.uploads("again") == []


def test_events_say_what_the_conditions_say(world: World, data: bytes):
    world.copy("told", "data")
    world.wait_condition("told", "Complete")

    def reasons() -> list[str]:
        selector = "--field-selector=involvedObject.name=told,involvedObject.kind=MultipartCopy"
        items = lab.get("--namespace", world.namespace, "events", selector)["items"]
        return [e["reason"] for e in items]

    wanted = {"Claimed", "UploadCreated", "Copying", "Completing", "Copied"}
    lab.wait_until("the events", lambda: wanted <= set(reasons()), 10)
    table = lab.kubectl("--namespace", world.namespace, "get", "mpc", "told").splitlines()
    assert table[0].split() == ["NAME", "PHASE", "REASON", "PROGRESS", "PARTS", "SIZE", "AGE"]
    assert table[1].split()[:-1] == ["told", "Succeeded", "Copied", "100", "40/40", "200.0", "MiB"]
