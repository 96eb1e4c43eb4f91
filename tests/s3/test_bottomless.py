"""The store without a disk, by which the bench of the ledger lets the real operator and worker copy."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.bench.ledger import bottomless
from multipartcopy.api.location import S3Location
from multipartcopy.s3.control import Access, CompletedPart, Credentials, Precondition, Store
from multipartcopy.s3.errors import Kind, S3Error
from multipartcopy.s3.properties import Wanted
from tests.s3.local_cluster import Cluster, Operator

MiB = 1 << 20
PARTS = 70
"""More than one batch has."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = bottomless.serve("127.0.0.1", 0, rate=float("inf"))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def store(endpoint: str, side: str, bucket: str, key: str) -> Store:
    return Store(side, S3Location(bucket, key, endpoint), Access(Credentials("any", "body")))


def test_an_object_is_as_large_as_its_key_says(endpoint: str) -> None:
    found = store(endpoint, "source", bottomless.BUCKET, str(50 << 30)).head()
    assert found.size == 50 << 30
    assert found.crc64nvme


def test_what_was_not_made_is_not_there(endpoint: str) -> None:
    nothing = store(endpoint, "destination", "bench", "object")
    assert nothing.head_or_none() is None
    assert nothing.list_uploads()[0] == []
    assert not nothing.upload_exists("none")


def test_a_part_that_was_not_sent_is_not_completed(endpoint: str) -> None:
    destination = store(endpoint, "destination", "bench", "object")
    upload = destination.create_upload(Wanted(), "stamp", checksum=True)
    assert upload.checksum
    assert [listed.id for listed in destination.list_uploads()[0]] == [upload.id]
    with pytest.raises(S3Error) as refused:
        destination.complete(
            upload.id,
            [CompletedPart(1, "0" * 32, "AAAAAAAAAAA=")],
            size=5,
            crc64nvme="AAAAAAAAAAA=",
            precondition=Precondition(),
        )
    assert refused.value.kind is Kind.INVALID_PART
    destination.abort(upload.id)
    assert destination.list_uploads()[0] == []


def test_the_real_operator_and_worker_copy_it_and_call_it_verified(
    endpoint: str, tmp_path: Path
) -> None:
    def end(bucket: str, key: str) -> dict[str, Any]:
        place = {"bucket": bucket, "key": key, "endpoint": endpoint}
        return {"s3": {**place, "secretRef": {"name": "s3"}}}

    cluster = Cluster(tmp_path)
    cluster.secrets["s3"] = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "body"}
    size = PARTS * 5 * MiB - 1
    ends = {"source": end(bottomless.BUCKET, str(size)), "destination": end("bench", "object")}
    cluster.create("copy", {**ends, "mode": "Relay", "partSize": "5Mi", "parallelism": 2})
    operator = Operator(cluster)
    try:
        copied = threading.Event()
        cluster.watches.append(lambda *_: copied.set() if _over(cluster) else None)
        assert copied.wait(60), cluster.condition("copy")
    finally:
        operator.stop()
        cluster.close()
    status = cluster.status("copy")
    assert cluster.condition("copy")["reason"] == "Copied"
    assert status["progress"]["partsDone"] == PARTS
    assert status["verification"]["result"] == "Verified"
    made = store(endpoint, "destination", "bench", "object").head()
    assert made.etag.endswith(f"-{PARTS}")
    assert made.metadata


def _over(cluster: Cluster) -> bool:
    return cluster.status("copy").get("phase") in ("Succeeded", "Failed")
