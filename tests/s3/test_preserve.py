"""What an object is made with besides its bytes, in whole copies between real servers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.servers import Server
from multipartcopy.api.reasons import Reason
from tests.proxy_client import refusal
from tests.s3.copying import CREATE, HEAD, SIZE, Copy, Pair, copying, pair
from tests.s3.local_cluster import shortened

SOURCE: dict[str, Any] = {
    "ContentType": "text/csv",
    "CacheControl": "no-cache",
    "ContentLanguage": "de",
    "Metadata": {"who": "them", "where": "there"},
    "Tagging": "team=a&cost%20unit=1%2B2",
}
TAGS = {"team": "a", "cost unit": "1+2"}
ALL = {"contentHeaders": "Required", "metadata": "Required", "tags": "Required"}
TAGGED = "^x-amz-tagging:"
GET_TAGS = {"match": r"^GET .*\?tagging"}
PUT = {"match": r"^PUT /[^?]+$"}


@pytest.fixture(scope="module", params=["versitygw", "minio"])
def between(request: pytest.FixtureRequest) -> Iterator[Pair]:
    server: Server = request.getfixturevalue(request.param)
    with pair(server) as made, shortened():
        yield made


@pytest.fixture
def copy(between: Pair, tmp_path: Path) -> Iterator[Copy]:
    with copying(between, tmp_path, **SOURCE) as made:
        yield made


@pytest.fixture(params=[SIZE, 0], ids=["parts", "empty"])
def either(request: pytest.FixtureRequest, between: Pair, tmp_path: Path) -> Iterator[Copy]:
    """The object is made by an upload, or by a PutObject."""
    with copying(between, tmp_path, bytes(request.param), **SOURCE) as made:
        yield made


def is_copied(copy: Copy) -> dict[str, Any]:
    """What a HEAD shows, but for the mark of a copy."""
    assert copy.end() == Reason.COPIED, copy.message
    assert copy.stored() == copy.data
    head: dict[str, Any] = copy.client().head_object(Bucket=copy.bucket, Key="to")
    assert head["Metadata"].pop("multipartcopy-source")
    return head


def tags(copy: Copy, key: str = "to") -> dict[str, str]:
    there = copy.client().get_object_tagging(Bucket=copy.bucket, Key=key)["TagSet"]
    return {tag["Key"]: tag["Value"] for tag in there}


def dropped(copy: Copy) -> list[str]:
    """The items that the status says were not kept, and so does the message."""
    items = copy.status["dropped"]
    for item in items:
        assert f"{item['item']} ({item['reason']})" in copy.message
    return [item["item"] for item in items]


def directory(parent: Path, name: str) -> Path:
    made = parent / name
    made.mkdir()
    return made


def nothing_was_sent(copy: Copy) -> None:
    assert copy.stored() is None
    assert copy.uploads() == []
    assert copy.pair.destination.bytes_put() == 0


@pytest.mark.parametrize("within", [False, True], ids=["between", "within"])
def test_headers_and_metadata_are_kept_by_default(either: Copy, within: bool) -> None:
    copy = either
    copy.start(within=within)
    head = is_copied(copy)
    assert (head["ContentType"], head["CacheControl"]) == ("text/csv", "no-cache")
    assert head["ContentLanguage"] == "de"
    assert head["Metadata"] == SOURCE["Metadata"]
    assert tags(copy) == {}
    assert dropped(copy) == []


def test_all_is_kept_where_it_is_asked_for(either: Copy) -> None:
    copy = either
    copy.start(preserve=ALL)
    assert is_copied(copy)["Metadata"] == SOURCE["Metadata"]
    assert tags(copy) == TAGS
    assert dropped(copy) == []


def test_nothing_is_kept_where_nothing_shall_be(copy: Copy) -> None:
    copy.start(preserve={"contentHeaders": "Ignore", "metadata": "Ignore"})
    head = is_copied(copy)
    assert head["Metadata"] == {}
    assert head["ContentType"] != "text/csv"
    assert "CacheControl" not in head


def test_what_is_given_wins(either: Copy) -> None:
    copy = either
    copy.destination_more = {
        "contentType": "text/plain",
        "contentEncoding": "identity",
        "contentDisposition": 'attachment; filename="a b.csv"',
        "contentLanguage": "en",
        "cacheControl": "max-age=60",
        "metadata": {"who": "Ω us", "why": "so"},
        "tags": {"team": "b/c", "more": ""},
        "storageClass": "STANDARD",
    }
    copy.start(preserve=ALL)
    head = is_copied(copy)
    assert head["ContentType"] == "text/plain"
    assert head["ContentEncoding"] == "identity"
    assert head["ContentDisposition"] == 'attachment; filename="a b.csv"'
    assert head["ContentLanguage"] == "en"
    assert head["CacheControl"] == "max-age=60"
    assert head["Metadata"] == {"who": "=?utf-8?b?zqkgdXM=?=", "where": "there", "why": "so"}
    assert tags(copy) == {**TAGS, "team": "b/c", "more": ""}


def test_a_source_without_tags(between: Pair, tmp_path: Path) -> None:
    with copying(between, tmp_path) as copy:
        copy.start(preserve={"tags": "Required"})
        is_copied(copy)
        assert tags(copy) == {}


@pytest.mark.parametrize(
    "answer", [refusal(403, "AccessDenied"), refusal(501, "NotImplemented")], ids=["403", "501"]
)
def test_tags_that_the_source_does_not_tell(either: Copy, answer: dict[str, Any]) -> None:
    copy = either
    copy.pair.source.rules({**GET_TAGS, "do": answer})
    copy.start(preserve={"tags": "BestEffort"})
    is_copied(copy)
    assert tags(copy) == {}
    assert dropped(copy) == ["tags"]
    assert "source" in copy.status["dropped"][0]["reason"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (refusal(403, "AccessDenied"), Reason.ACCESS_DENIED),
        (refusal(501, "NotImplemented"), Reason.NOT_PRESERVED),
    ],
    ids=["403", "501"],
)
def test_required_tags_that_the_source_does_not_tell(
    copy: Copy, answer: dict[str, Any], reason: Reason
) -> None:
    copy.pair.source.rules({**GET_TAGS, "do": answer})
    copy.start(preserve={"tags": "Required"})
    assert copy.end() == reason, copy.message
    assert "GetObjectTagging" in copy.message
    nothing_was_sent(copy)


def test_tags_that_are_not_told_for_a_while_are_waited_for(copy: Copy) -> None:
    copy.pair.source.rules({**GET_TAGS, "times": 4, "do": refusal(503, "SlowDown")})
    copy.start(preserve={"tags": "BestEffort"})
    is_copied(copy)
    assert copy.pair.source.spent()
    assert tags(copy) == TAGS


@pytest.mark.parametrize(
    "answer",
    [refusal(501, "NotImplemented"), refusal(400, "InvalidTag"), refusal(403, "AccessDenied")],
    ids=["501", "400", "403"],
)
def test_tags_that_the_destination_refuses(either: Copy, answer: dict[str, Any]) -> None:
    copy = either
    make = CREATE if copy.data else PUT
    copy.pair.destination.rules({**make, "header": TAGGED, "do": answer})
    copy.start(preserve={"tags": "BestEffort"})
    assert is_copied(copy)["Metadata"] == SOURCE["Metadata"]
    assert tags(copy) == {}
    assert dropped(copy) == ["tags"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (refusal(400, "InvalidTag"), Reason.NOT_PRESERVED),
        (refusal(501, "NotImplemented"), Reason.REQUEST_REFUSED),
        (refusal(403, "AccessDenied"), Reason.ACCESS_DENIED),
    ],
    ids=["400", "501", "403"],
)
def test_required_tags_that_the_destination_refuses(
    either: Copy, answer: dict[str, Any], reason: Reason
) -> None:
    copy = either
    make = CREATE if copy.data else PUT
    copy.pair.destination.rules({**make, "header": TAGGED, "do": answer})
    copy.start(preserve={"tags": "Required"})
    assert copy.end() == reason, copy.message
    if answer["status"] != 403:
        assert "spec.preserve requires tags of the source" in copy.message
    nothing_was_sent(copy)


def test_metadata_beyond_the_limit(copy: Copy) -> None:
    """As of a source whose store takes more."""
    big = {"kind": "edit", "headers": {"x-amz-meta-big": "x" * 3000}}
    copy.pair.source.rules({**HEAD, "do": big})
    copy.start()
    head = is_copied(copy)
    assert head["Metadata"] == {}
    assert head["ContentType"] == "text/csv"
    assert dropped(copy) == ["metadata"]
    assert "MetadataTooLarge" in copy.status["dropped"][0]["reason"]


def test_required_metadata_beyond_the_limit(copy: Copy) -> None:
    big = {"kind": "edit", "headers": {"x-amz-meta-big": "x" * 3000}}
    copy.pair.source.rules({**HEAD, "do": big})
    copy.start(preserve={"metadata": "Required"})
    assert copy.end() == Reason.NOT_PRESERVED
    assert "MetadataTooLarge" in copy.message
    nothing_was_sent(copy)


def test_too_many_tags_together(copy: Copy) -> None:
    """Ten are the limit of S3, though not of versitygw; the given alone are kept."""
    copy.destination_more = {"tags": {f"k{n}": str(n) for n in range(9)}}
    copy.start(preserve={"tags": "BestEffort"})
    is_copied(copy)
    kept = len(tags(copy)) == 11
    assert dropped(copy) == ([] if kept else ["tags"])
    assert tags(copy) == {**copy.destination_more["tags"], **(TAGS if kept else {})}


def test_a_storage_class_that_the_store_does_not_know(minio: Server, tmp_path: Path) -> None:
    cold = {"kind": "edit", "headers": {"x-amz-storage-class": "GLACIER_IR"}}
    with pair(minio) as between, shortened():
        with copying(between, directory(tmp_path, "kept"), **SOURCE) as copy:
            copy.pair.source.rules({**HEAD, "do": cold})
            copy.start(preserve={"storageClass": "BestEffort"})
            is_copied(copy)
            assert dropped(copy) == ["storageClass"]
            assert "InvalidStorageClass" in copy.status["dropped"][0]["reason"]
        with copying(between, directory(tmp_path, "required"), **SOURCE) as copy:
            copy.pair.source.rules({**HEAD, "do": cold})
            copy.start(preserve={"storageClass": "Required"})
            assert copy.end() == Reason.NOT_PRESERVED
            nothing_was_sent(copy)
        with copying(between, directory(tmp_path, "given"), **SOURCE) as copy:
            copy.destination_more = {"storageClass": "GLACIER_IR"}
            copy.start()
            assert copy.end() == Reason.REQUEST_REFUSED
            assert "InvalidStorageClass" in copy.message
            nothing_was_sent(copy)


def test_a_storage_class_that_the_store_knows(minio: Server, tmp_path: Path) -> None:
    with pair(minio) as between, shortened():
        rare = {"StorageClass": "REDUCED_REDUNDANCY"}
        with copying(between, directory(tmp_path, "kept"), **rare) as copy:
            copy.start(preserve={"storageClass": "Required"})
            assert is_copied(copy)["StorageClass"] == "REDUCED_REDUNDANCY"
        with copying(between, directory(tmp_path, "given")) as copy:
            copy.destination_more = {"storageClass": "REDUCED_REDUNDANCY"}
            copy.start()
            assert is_copied(copy)["StorageClass"] == "REDUCED_REDUNDANCY"


def test_an_equal_object_is_left_as_it_is(copy: Copy) -> None:
    copy.put("to", copy.data)
    copy.destination_more = {"contentType": "text/plain"}
    copy.start()
    assert copy.end() == Reason.ALREADY_EQUAL
    assert "contentHeaders and metadata differ, and were left as they are" in copy.message
    head = copy.client().head_object(Bucket=copy.bucket, Key="to")
    assert (head["ContentType"] != "text/plain", head["Metadata"]) == (True, {})


def test_an_equal_object_with_equal_properties(copy: Copy) -> None:
    copy.client().put_object(Bucket=copy.bucket, Key="to", Body=copy.data, **SOURCE)
    copy.start(preserve=ALL)
    assert copy.end() == Reason.ALREADY_EQUAL
    assert "left as they are" not in copy.message
