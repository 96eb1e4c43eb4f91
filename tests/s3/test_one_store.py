"""Two names of one store, which nothing in the spec shows to be one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.servers import Server
from multipartcopy.api.names import ANNOTATION_RETRY
from tests.s3.copying import Copy, copying, pair


@pytest.fixture(params=["versitygw", "minio"])
def copy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Copy]:
    """Of an object to itself: each side reaches the store by a proxy of its own."""
    server: Server = request.getfixturevalue(request.param)
    with pair(server) as between, copying(between, tmp_path) as copy:
        copy.source_key = "to"
        copy.put("to", copy.data)
        yield copy


def test_what_would_replace_its_own_source_is_given_up(copy: Copy) -> None:
    """The source's store is seen to have the upload that was made at the destination."""
    before = copy.client().head_object(Bucket=copy.bucket, Key="to")
    copy.start(overwrite="Always")
    assert copy.end() == "RequestRefused"
    assert "is the source itself, by another name" in copy.message
    after = copy.client().head_object(Bucket=copy.bucket, Key="to")
    assert (after["ETag"], after["Metadata"]) == (before["ETag"], before["Metadata"])
    assert after["LastModified"] == before["LastModified"]
    assert copy.uploads() == []


def test_what_was_kept_of_it_is_not_taken_up(copy: Copy) -> None:
    before = copy.client().head_object(Bucket=copy.bucket, Key="to")
    copy.start(overwrite="Always", onFailure="Keep")
    copy.until(lambda: copy.status.get("phase") == "Failed")
    (kept,) = copy.uploads()
    copy.cluster.annotate(copy.name, ANNOTATION_RETRY, "1")
    copy.until(lambda: copy.uploads() not in ([], [kept]) and copy.status["phase"] == "Failed")
    assert copy.reason == "RequestRefused"
    after = copy.client().head_object(Bucket=copy.bucket, Key="to")
    assert after["Metadata"] == before["Metadata"]
    copy.delete()
    copy.until(lambda: copy.name not in copy.cluster.copies)
    assert copy.uploads() == []


def test_what_is_equal_to_itself_is_not_praised_as_a_copy(copy: Copy) -> None:
    copy.start()
    assert copy.end() == "AlreadyEqual"
    assert "see that the two endpoints are not one store" in copy.message


def test_an_equal_object_of_another_name_needs_no_such_words(copy: Copy) -> None:
    copy.source_key = "from"
    copy.start()
    assert copy.end() == "AlreadyEqual"
    assert "one store" not in copy.message
