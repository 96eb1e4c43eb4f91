"""The policies of docs/security.md, at a real store: they are enough, and what is left out of them is missed.

MinIO holds everybody to a bucket's policy, so a copy without credentials may do what the policies say and no more.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dev.servers import Server
from multipartcopy.api.reasons import Reason
from tests.pages import blocks
from tests.s3.copying import PART, PUT_PART_2, Copy, Pair, copying, pair
from tests.s3.local_cluster import IMPATIENT, shortened

SOURCE, DESTINATION = (
    json.loads(block.text) for block in blocks("json") if block.page.name == "security.md"
)


@pytest.fixture(scope="module")
def between(minio: Server) -> Iterator[Pair]:
    with pair(minio) as made, shortened():
        yield made


@pytest.fixture
def copy(between: Pair, tmp_path: Path) -> Iterator[Copy]:
    with copying(between, tmp_path) as made:
        made.client().create_bucket(Bucket=target(made))
        yield made


def target(copy: Copy) -> str:
    return f"{copy.bucket}-to"


def start(copy: Copy, without: str = "", **spec: Any) -> None:
    """Nobody's copy from one bucket to the other, under the policies, but for one action."""
    allow(copy, copy.bucket, "from", SOURCE, without)
    allow(copy, target(copy), "to", DESTINATION, without)
    source, destination = copy.pair.source.endpoint, copy.pair.destination.endpoint
    copy.start(
        source={"s3": place(source, copy.bucket, "from")},
        destination={"s3": place(destination, target(copy), "to")},
        **spec,
    )


def place(endpoint: str, bucket: str, key: str) -> dict[str, Any]:
    return {"endpoint": endpoint, "bucket": bucket, "key": key, "anonymous": True}


def allow(copy: Copy, bucket: str, key: str, policy: dict[str, Any], without: str) -> None:
    statements = []
    for statement in policy["Statement"]:
        actions = statement["Action"]
        actions = [actions] if isinstance(actions, str) else actions
        on_object = "/" in statement["Resource"]
        resource = f"arn:aws:s3:::{bucket}" + (f"/{key}" if on_object else "")
        if left := [action for action in actions if action != without]:
            statements.append(
                {**statement, "Action": left, "Resource": [resource], "Principal": {"AWS": ["*"]}}
            )
    text = json.dumps({**policy, "Statement": statements})
    copy.client().put_bucket_policy(Bucket=bucket, Policy=text)


def uploads(copy: Copy) -> list[Any]:
    listed = copy.client().list_multipart_uploads(Bucket=target(copy), Prefix="to")
    return list(listed.get("Uploads", []))


@pytest.mark.parametrize("verification", ["Auto", "ReadBack"])
def test_they_are_enough_for_a_copy(copy: Copy, verification: str) -> None:
    start(copy, verification=verification)
    assert copy.end() == Reason.COPIED, copy.message
    stored = copy.client().get_object(Bucket=target(copy), Key="to")["Body"].read()
    assert stored == copy.data


def test_they_are_enough_for_an_abort(copy: Copy) -> None:
    copy.pair.destination.hold(PUT_PART_2["match"])
    start(copy)
    copy.until(copy.pair.destination.held)
    assert uploads(copy)
    copy.delete()
    copy.pair.destination.open("drop")
    copy.until(lambda: copy.name not in copy.cluster.copies)
    assert uploads(copy) == []


def test_they_are_enough_to_take_a_damaged_object_away(copy: Copy) -> None:
    """It is read back otherwise than it was sent, however often."""
    flip = {"kind": "flip", "at": "answer-body", "offset": 1000, "bit": 5}
    copy.pair.destination.rule("^GET ", flip, header=rf"^Range: bytes={PART}-")
    start(copy, verification="ReadBack")
    assert copy.end() == Reason.CHECKSUM_MISMATCH, copy.message
    assert "it was deleted" in copy.message
    assert "Contents" not in copy.client().list_objects_v2(Bucket=target(copy))


@pytest.mark.parametrize(
    "action",
    [
        "s3:GetObject",
        "s3:PutObject",
        "s3:ListBucketMultipartUploads",
        "s3:ListMultipartUploadParts",
    ],
)
def test_what_is_left_out_is_missed(copy: Copy, action: str) -> None:
    # Without a list of its parts nobody sees that an upload is gone.
    copy.limits = replace(IMPATIENT, abort_grace_seconds=2)
    start(copy, without=action)
    assert copy.end() == Reason.ACCESS_DENIED, copy.message
