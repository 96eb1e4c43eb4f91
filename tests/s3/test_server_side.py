"""Copies within one store, which copies by itself: no byte passes us, and what cannot be proven is not claimed."""

import hashlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.servers import Server
from multipartcopy.api.reasons import Reason
from tests.proxy_client import refusal
from tests.s3.copying import (
    COPY_PART_2,
    COPY_PARTS,
    PART,
    SIZE,
    Copy,
    MiB,
    Pair,
    copying,
    pair,
)
from tests.s3.local_cluster import shortened

NO_CHECKSUMS = {
    "match": "^HEAD ",
    "do": {"kind": "edit", "headers": {"x-amz-checksum-crc64nvme": None}},
}
"""Of objects, as most stores tell."""
PUT_PART_2 = r"^PUT .*[?&]partNumber=2&"


@pytest.fixture(scope="module", params=["versitygw", "minio"])
def between(request: pytest.FixtureRequest) -> Iterator[Pair]:
    server: Server = request.getfixturevalue(request.param)
    with pair(server) as made, shortened():
        yield made


@pytest.fixture
def copy(between: Pair, tmp_path: Path) -> Iterator[Copy]:
    """Of a source in the parts that the copy will have."""
    with copying(between, tmp_path) as made:
        in_parts(made)
        yield made


def in_parts(copy: Copy, key: str = "from") -> None:
    """The source anew, in parts of 5 MiB."""
    client, where = copy.client(), {"Bucket": copy.bucket, "Key": key}
    upload = client.create_multipart_upload(**where)["UploadId"]
    parts = []
    for number, start in enumerate(range(0, len(copy.data), PART), 1):
        body = copy.data[start : start + PART]
        done = client.upload_part(**where, UploadId=upload, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": done["ETag"]})
    client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})


def is_copied(copy: Copy) -> None:
    assert copy.end() == Reason.COPIED, copy.message
    assert copy.stored() == copy.data
    assert copy.uploads() == []


def is_by_the_store(copy: Copy, result: str = "Verified") -> dict[str, Any]:
    is_copied(copy)
    assert copy.status["mode"] == "ServerSide"
    assert "by ServerSide" in copy.message
    assert copy.bytes_through_us() == 0
    verification: dict[str, Any] = copy.status["verification"]
    assert verification["result"] == result
    return verification


def is_by_the_workers(copy: Copy) -> None:
    is_copied(copy)
    assert copy.status["mode"] == "Relay"
    assert "by Relay" in copy.message
    assert copy.pair.destination.bytes_put() >= len(copy.data)


def test_equal_parts_are_proven_by_equal_etags_and_no_byte_passes_us(copy: Copy) -> None:
    copy.pair.destination.rules(NO_CHECKSUMS)
    copy.start(within=True, partSize="Auto")
    verification = is_by_the_store(copy)
    head = copy.client().head_object(Bucket=copy.bucket, Key="from")
    assert verification["source"]["method"] == "CompositeETag"
    assert verification["source"]["value"] == head["ETag"].strip('"')
    assert copy.status["destination"]["etag"] == head["ETag"].strip('"')
    assert [b["crc64nvme"] for b in copy.status["batches"].values()] == [""] * 2
    assert copy.status["upload"]["checksum"] is False


def test_a_source_of_one_part_is_copied_as_one_and_proven_by_its_md5(
    between: Pair, tmp_path: Path
) -> None:
    with copying(between, tmp_path) as copy:
        copy.pair.destination.rules(NO_CHECKSUMS)
        copy.start(within=True, partSize="Auto")
        verification = is_by_the_store(copy)
        assert copy.status["plan"]["partCount"] == 1
        md5 = hashlib.md5(copy.data, usedforsecurity=False).hexdigest()
        assert verification["source"] == verification["transfer"]
        assert (verification["source"]["method"], verification["source"]["value"]) == ("MD5", md5)


def test_two_checksums_of_the_store_prove_any_parts(versitygw: Server, tmp_path: Path) -> None:
    """It makes a CRC64NVME of every object, as AWS does."""
    with pair(versitygw) as within, shortened(), copying(within, tmp_path) as copy:
        copy.start(within=True)
        verification = is_by_the_store(copy)
        assert verification["source"] == verification["transfer"]
        assert verification["source"]["method"] == "CRC64NVME"


def test_what_nothing_proves_is_not_claimed(between: Pair, tmp_path: Path) -> None:
    with copying(between, tmp_path) as copy:
        copy.pair.destination.rules(NO_CHECKSUMS)
        copy.start(within=True)
        verification = is_by_the_store(copy, "Unverified")
        assert "ReadBack" in verification["detail"]


@pytest.mark.parametrize("size", [0, 1, PART, PART + 1])
def test_small_objects(between: Pair, tmp_path: Path, size: int) -> None:
    """A store takes no range of a source of 5 MB or less."""
    with copying(between, tmp_path, data=b"x" * size) as copy:
        copy.start(within=True, mode="ServerSide")
        is_copied(copy)
        assert copy.status.get("mode") == ("ServerSide" if size else None)
        assert copy.bytes_through_us() == 0


@pytest.mark.parametrize("key", ["a b+c", "ünïcødé/Ω", "per%cent%20", "what?&=#x", "~'(1)*!;:@,$"])
def test_keys(copy: Copy, key: str) -> None:
    in_parts(copy, key)
    copy.client().delete_object(Bucket=copy.bucket, Key="from")
    copy.source_key = key
    copy.start(within=True)
    is_by_the_store(copy)


def test_the_version_that_was_asked_for(minio: Server, tmp_path: Path) -> None:
    with pair(minio) as within, shortened(), copying(within, tmp_path) as copy:
        client, versioning = copy.client(), {"Status": "Enabled"}
        client.put_bucket_versioning(Bucket=copy.bucket, VersioningConfiguration=versioning)
        put = client.put_object(Bucket=copy.bucket, Key="from", Body=copy.data)
        client.put_object(Bucket=copy.bucket, Key="from", Body=b"newer")
        copy.source_version = put["VersionId"]
        copy.start(within=True)
        is_copied(copy)
        assert copy.status["mode"] == "ServerSide"


def test_read_back_reads_both_objects_and_compares_them(copy: Copy) -> None:
    copy.start(within=True, verification="ReadBack")
    is_copied(copy)
    assert copy.status["mode"] == "ServerSide"
    verification = copy.status["verification"]
    assert (verification["result"], verification["source"]["method"]) == ("Verified", "ReadBack")
    assert (copy.pair.destination.bytes_got(), copy.pair.destination.bytes_put()) == (2 * SIZE, 0)


@pytest.mark.parametrize("side", ["from", "to"])
def test_what_was_read_otherwise_is_read_again_on_both_sides(copy: Copy, side: str) -> None:
    flip = {"kind": "flip", "at": "answer-body", "offset": 1000, "bit": 3}
    copy.pair.destination.rule(
        rf"^GET /[^?]+/{side}$", flip, header=rf"^Range: bytes={PART}-", times=1
    )
    copy.start(within=True, verification="ReadBack")
    is_copied(copy)
    assert copy.pair.destination.spent()
    assert copy.status["verification"]["result"] == "Verified"
    assert Reason.PARTS_DISAGREE in copy.cluster.told()


def test_a_copy_that_is_another_is_deleted_and_never_called_complete(copy: Copy) -> None:
    """The reading of one side is always another: which of them is wrong, nobody can tell."""
    flip = {"kind": "flip", "at": "answer-body", "offset": 1000, "bit": 3}
    copy.pair.destination.rule(r"^GET /[^?]+/to$", flip, header=rf"^Range: bytes={PART}-")
    copy.start(within=True, verification="ReadBack")
    assert copy.end() == Reason.CHECKSUM_MISMATCH, copy.message
    assert copy.stored() is None


REFUSALS = {
    "501": refusal(501, "NotImplemented"),
    "400": refusal(400, "InvalidRequest"),
    "501 in a 200": refusal(200, "NotImplemented"),
    "nothing in a 200": {"kind": "answer", "status": 200, "body": ""},
    "no ETag": {"kind": "answer", "status": 200, "body": "<CopyPartResult></CopyPartResult>"},
    "403": refusal(403, "AccessDenied"),
}


@pytest.mark.parametrize("answer", REFUSALS.values(), ids=REFUSALS)
def test_a_store_that_refuses_gets_the_parts_from_the_workers(
    copy: Copy, answer: dict[str, Any]
) -> None:
    copy.pair.destination.rules({**COPY_PARTS, "do": answer})
    copy.start(within=True)
    is_by_the_workers(copy)
    assert Reason.SERVER_SIDE_REFUSED in copy.cluster.told()
    assert copy.status["serverSideRefused"]
    assert copy.status["attempt"] == 2
    assert copy.status["verification"]["result"] == "Verified"


@pytest.mark.parametrize("answer", [REFUSALS["501"], REFUSALS["403"]], ids=["501", "403"])
def test_server_side_alone_fails_where_the_store_refuses(
    copy: Copy, answer: dict[str, Any]
) -> None:
    copy.pair.destination.rules({**COPY_PARTS, "do": answer})
    copy.start(within=True, mode="ServerSide")
    denied = answer["status"] == 403
    reason = Reason.ACCESS_DENIED if denied else Reason.SERVER_SIDE_REFUSED
    assert copy.end() == reason, copy.message
    assert "write spec.mode: Auto" in copy.message
    assert copy.stored() is None
    assert copy.uploads() == []


def test_a_new_plan_is_made_for_the_workers(between: Pair, tmp_path: Path) -> None:
    with copying(between, tmp_path) as copy:
        copy.pair.destination.rules({**COPY_PARTS, "do": refusal(501, "NotImplemented")})
        copy.start(within=True, partSize="Auto")
        is_by_the_workers(copy)
        assert copy.status["plan"]["partSize"] == 16 * MiB


def in_public(copy: Copy) -> None:
    """Everybody may read the source, and it is read without keys."""
    allowed = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
    allowed["Resource"] = f"arn:aws:s3:::{copy.bucket}/*"
    policy = {"Version": "2012-10-17", "Statement": [allowed]}
    copy.client().put_bucket_policy(Bucket=copy.bucket, Policy=json.dumps(policy))
    copy.anonymous_source = True


SIGNED_LOOK = {"match": "^(HEAD|GET) /[^/]+/from$", "header": "^Authorization:"}


def test_an_anonymous_source_is_copied_with_the_keys_of_the_destination(copy: Copy) -> None:
    in_public(copy)
    copy.start(within=True)
    is_by_the_store(copy)
    assert len(copy.pair.destination.log("^HEAD .*/from$")) > 2


ANOTHER = {"kind": "edit", "headers": {"ETag": '"another"'}}


@pytest.mark.parametrize(
    "answer", [refusal(403, "AccessDenied"), refusal(404, "NoSuchKey"), refusal(412), ANOTHER]
)
def test_what_the_keys_of_the_destination_do_not_see_goes_through_the_workers(
    copy: Copy, answer: dict[str, Any]
) -> None:
    """Of two tenants of one endpoint, each may have a bucket of one name, with another object of one name."""
    in_public(copy)
    copy.pair.destination.rules({**SIGNED_LOOK, "do": answer})
    copy.start(within=True)
    is_by_the_workers(copy)
    assert "with the destination's credentials" in copy.status["serverSideRefused"]
    assert copy.status["attempt"] == 1


def test_server_side_alone_waits_for_the_keys_to_be_let_in_and_then_fails(copy: Copy) -> None:
    in_public(copy)
    copy.pair.destination.rules({**SIGNED_LOOK, "do": refusal(403, "AccessDenied")})
    copy.start(within=True, mode="ServerSide")
    assert copy.end() == Reason.ACCESS_DENIED, copy.message
    assert "with the destination's credentials" in copy.message


def test_different_endpoints_relay(copy: Copy) -> None:
    copy.start()
    is_by_the_workers(copy)
    assert "serverSideRefused" not in copy.status


def test_each_part_md5_relays(copy: Copy) -> None:
    copy.start(within=True, verification="PartMD5")
    is_by_the_workers(copy)


def test_the_source_is_pinned(copy: Copy) -> None:
    copy.pair.destination.hold(COPY_PART_2["match"], header=COPY_PART_2["header"], times=1)
    copy.start(within=True)
    copy.pair.destination.wait_held()
    copy.put("from", b"other" * 4_000_000)
    copy.pair.destination.release()
    assert copy.end() == Reason.SOURCE_CHANGED, copy.message
    assert copy.stored() is None
    assert copy.uploads() == []


def test_a_source_that_changes_before_the_completion_is_seen(copy: Copy) -> None:
    """Not every store heeds the ETag that a part is asked for with."""
    copy.pair.destination.hold(COPY_PART_2["match"], at="answer", times=1)
    copy.start(within=True)
    copy.pair.destination.wait_held()
    copy.until(lambda: {1, 3, 4} <= set(copy.parts()))
    copy.put("from", b"other" * 4_000_000)
    copy.pair.destination.release()
    assert copy.end() == Reason.SOURCE_CHANGED, copy.message
    assert copy.stored() is None
    assert copy.uploads() == []


def test_a_source_that_is_removed(copy: Copy) -> None:
    copy.pair.destination.hold(COPY_PART_2["match"], times=1)
    copy.start(within=True)
    copy.pair.destination.wait_held()
    copy.client().delete_object(Bucket=copy.bucket, Key="from")
    copy.pair.destination.release()
    assert copy.end() == Reason.SOURCE_NOT_FOUND, copy.message
    assert copy.uploads() == []


def test_an_upload_that_is_lost_is_made_anew(copy: Copy) -> None:
    copy.pair.destination.hold(COPY_PART_2["match"], times=1)
    copy.start(within=True)
    copy.pair.destination.wait_held()
    # versitygw lets a part that is under way bring an aborted upload back.
    copy.until(lambda: copy.parts() == [1, 3, 4])
    (upload,) = copy.uploads()
    copy.client().abort_multipart_upload(Bucket=copy.bucket, Key="to", UploadId=upload)
    copy.pair.destination.release()
    is_by_the_store(copy)
    assert copy.status["attempt"] == 2


@pytest.mark.parametrize("at", ["request", "answer"])
def test_a_worker_that_is_killed_in_the_middle_of_a_part_costs_nothing_but_that_part(
    copy: Copy, at: str
) -> None:
    copy.pair.destination.hold(COPY_PART_2["match"], at=at, times=1)
    copy.start(within=True)
    copy.pair.destination.wait_held()
    copy.until(lambda: {1, 3, 4} <= set(copy.parts()))
    for pod in copy.cluster.running():
        pod.process.send_signal(signal.SIGKILL)
    copy.until(lambda: not copy.cluster.running() or copy.status.get("run", 0) > 1)
    copy.pair.destination.release()  # The store does it all the same, late.
    is_by_the_store(copy)
    assert len(copy.pair.destination.log(PUT_PART_2)) <= 2
    assert len(copy.pair.destination.log(r"^PUT .*[?&]partNumber=[134]&")) == 3


def test_a_report_that_is_lost_costs_nothing(copy: Copy) -> None:
    """What the store lists of its own copying is as good as what it answered."""
    copy.cluster.message = lambda _pod, _text: ""
    copy.start(within=True)
    is_by_the_store(copy)
    assert len(copy.pair.destination.log(r"^PUT .*[?&]partNumber=")) == 4


def test_suspend_and_resume(copy: Copy) -> None:
    copy.pair.destination.hold(COPY_PART_2["match"], times=1)
    copy.start(within=True)
    copy.pair.destination.wait_held()
    copy.cluster.change_spec("copy", suspend=True)
    copy.until(lambda: copy.status["phase"] == "Suspended" and not copy.cluster.jobs)
    copy.pair.destination.release("drop")
    copy.cluster.change_spec("copy", suspend=False)
    is_by_the_store(copy)
