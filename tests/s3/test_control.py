"""The control calls, as two real servers answer them."""

import secrets
from pathlib import Path

import pytest

from dev.servers import ACCESS_KEY, SECRET_KEY, Server
from multipartcopy.api.location import S3Location
from multipartcopy.s3.control import (
    Access,
    CompletedPart,
    Credentials,
    Precondition,
    Store,
)
from multipartcopy.s3.errors import Kind, S3Error
from multipartcopy.s3.properties import Properties, Wanted

MiB = 1 << 20
LIKE = Wanted(kept=Properties({"ContentType": "text/x", "CacheControl": "no-cache"}, {"who": "me"}))
NOT_THERE = Precondition(if_none_match=True)


@pytest.fixture(params=["versitygw", "minio"])
def server(request: pytest.FixtureRequest) -> Server:
    return request.getfixturevalue(request.param)


@pytest.fixture
def location(server: Server) -> S3Location:
    bucket = f"control-{secrets.token_hex(4)}"
    server.client().create_bucket(Bucket=bucket)
    return S3Location(bucket=bucket, key="a b/ü%+?.bin", endpoint=server.endpoint)


@pytest.fixture
def store(location: S3Location) -> Store:
    return Store("destination", location, Access(Credentials(ACCESS_KEY, SECRET_KEY)))


def upload_parts(server: Server, location: S3Location, upload: str, *bodies: bytes) -> None:
    for number, body in enumerate(bodies, 1):
        server.client().upload_part(
            Bucket=location.bucket,
            Key=location.key,
            UploadId=upload,
            PartNumber=number,
            Body=body,
            ChecksumAlgorithm="CRC64NVME",
        )


def completed(store: Store, upload: str) -> list[CompletedPart]:
    parts, _ = store.list_parts(upload)
    return [CompletedPart(p.number, p.etag, p.crc64nvme) for p in parts]


def test_the_life_of_an_upload(server: Server, location: S3Location, store: Store):
    assert store.head_or_none() is None
    created = store.create_upload(LIKE, "stamp", checksum=True)
    upload = created.id
    assert (created.checksum, created.encrypted) == (True, False)
    (listed,), now = store.list_uploads()
    assert listed.id == upload
    assert abs((listed.initiated - now).total_seconds()) < 5
    # What a successor needs to take up an upload that was not recorded.
    assert store.list_parts(upload) == ([], True)
    body = secrets.token_bytes(6 * MiB)
    upload_parts(server, location, upload, body[: 5 * MiB], body[5 * MiB :])
    parts = completed(store, upload)
    assert [p.number for p in parts] == [1, 2]
    assert all(p.crc64nvme for p in parts)
    etag = store.complete(upload, parts, size=len(body), crc64nvme=None, precondition=NOT_THERE)
    head = store.head()
    assert (head.etag, head.size) == (etag, len(body))
    assert head.crc64nvme
    assert head.headers == LIKE.kept.headers
    assert head.metadata == {"who": "me", "multipartcopy-source": "stamp"}
    assert not store.upload_exists(upload)
    assert store.part_layout(head) == 5 * MiB


def test_abort_until_it_is_gone(server: Server, location: S3Location, store: Store):
    upload = store.create_upload(LIKE, "stamp", checksum=True).id
    upload_parts(server, location, upload, b"x")
    assert store.upload_exists(upload)
    store.abort(upload)
    assert not store.upload_exists(upload)
    store.abort(upload)
    assert store.list_uploads()[0] == []


def test_uploads_of_longer_keys_are_not_ours(server: Server, location: S3Location, store: Store):
    server.client().create_multipart_upload(Bucket=location.bucket, Key=location.key + "2")
    assert store.list_uploads()[0] == []


def test_preconditions_guard_the_destination(server: Server, location: S3Location, store: Store):
    upload = store.create_upload(LIKE, "stamp", checksum=True).id
    upload_parts(server, location, upload, b"ours")
    parts = completed(store, upload)
    server.client().put_object(Bucket=location.bucket, Key=location.key, Body=b"theirs")
    for precondition in (NOT_THERE, Precondition(if_match="0" * 32)):
        with pytest.raises(S3Error) as caught:
            store.complete(upload, parts, size=4, crc64nvme=None, precondition=precondition)
        assert caught.value.kind is Kind.PRECONDITION
    theirs = Precondition(if_match=store.head().etag)
    store.complete(upload, parts, size=4, crc64nvme=None, precondition=theirs)
    assert store.head().size == 4


def test_a_wrong_checksum_of_the_object_is_refused(
    server: Server, location: S3Location, store: Store
):
    upload = store.create_upload(LIKE, "stamp", checksum=True).id
    upload_parts(server, location, upload, b"ours")
    with pytest.raises(S3Error):
        store.complete(
            upload,
            completed(store, upload),
            size=4,
            crc64nvme="AAAAAAAAAAA=",
            precondition=Precondition(),
        )
    assert store.head_or_none() is None


def test_an_etag_that_the_store_does_not_have(server: Server, location: S3Location, store: Store):
    upload = store.create_upload(LIKE, "stamp", checksum=True).id
    upload_parts(server, location, upload, b"ours")
    (part,) = completed(store, upload)
    wrong = [CompletedPart(1, "0" * 32, part.crc64nvme)]
    with pytest.raises(S3Error) as caught:
        store.complete(upload, wrong, size=4, crc64nvme=None, precondition=Precondition())
    assert caught.value.kind is Kind.INVALID_PART


def test_without_a_checksum(server: Server, location: S3Location, store: Store):
    created = store.create_upload(LIKE, "stamp", checksum=False)
    assert not created.checksum
    assert store.list_parts(created.id) == ([], False)


def test_the_object_is_deleted(server: Server, location: S3Location, store: Store):
    server.client().put_object(Bucket=location.bucket, Key=location.key, Body=b"it")
    store.delete(store.head())
    assert store.head_or_none() is None


@pytest.mark.parametrize("server", ["versitygw"], indirect=True)
def test_another_object_than_was_seen_is_not_deleted(
    server: Server, location: S3Location, store: Store
):
    """MinIO ignores the condition: there, the HEAD just before is the only guard."""
    there = {"Bucket": location.bucket, "Key": location.key}
    server.client().put_object(**there, Body=b"first")
    seen = store.head()
    server.client().put_object(**there, Body=b"second")
    with pytest.raises(S3Error) as caught:
        store.delete(seen)
    assert caught.value.kind is Kind.PRECONDITION
    assert store.head().size == len(b"second")


def test_an_empty_object(store: Store):
    store.put_empty(LIKE, "stamp", NOT_THERE)
    head = store.head()
    assert (head.size, head.headers) == (0, LIKE.kept.headers)
    with pytest.raises(S3Error) as caught:
        store.put_empty(LIKE, "stamp", NOT_THERE)
    assert caught.value.kind is Kind.PRECONDITION


def test_metadata_that_leaves_no_room_for_the_stamp(store: Store):
    full = {"full": "x" * 2030}
    like = Wanted(kept=Properties(metadata=full))
    store.put_empty(like, "stamp", NOT_THERE)
    assert store.head().metadata == full


def test_errors_say_what_is_wrong(server: Server, location: S3Location, tmp_path: Path):
    keys = Credentials(ACCESS_KEY, SECRET_KEY)
    wrong = Credentials(ACCESS_KEY, "wrong")
    nowhere = S3Location(bucket="no-such-bucket", key="k", endpoint=server.endpoint)
    closed = S3Location(bucket="b", key="k", endpoint="http://127.0.0.1:1")
    for where, who, kind, word in (
        (nowhere, keys, Kind.NO_BUCKET, "NoSuchBucket"),
        (location, wrong, Kind.DENIED, "SignatureDoesNotMatch"),
        (closed, keys, Kind.RETRY, "EndpointConnectionError"),
    ):
        with pytest.raises(S3Error, match=word) as caught:
            Store("destination", where, Access(who)).list_uploads()
        assert caught.value.kind is kind
        assert str(where) in str(caught.value)
    assert str(caught.value).endswith("could not connect to http://127.0.0.1:1: Connection refused")
    nobody = S3Location(bucket="b", key="k", endpoint="http://no-such-host.invalid:7070")
    with pytest.raises(S3Error, match=r"http://no-such-host\.invalid:7070: .*not known"):
        Store("destination", nobody, Access(keys)).list_uploads()
    # A HEAD has no body to say why; we ask in a way that has.
    with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
        Store("source", location, Access(wrong)).head()
    with pytest.raises(S3Error, match="NoSuchKey") as caught:
        Store("source", location, Access(keys)).head()
    assert caught.value.reason == "SourceNotFound"
    # versitygw calls an unknown access key a 404.
    with pytest.raises(S3Error) as caught:
        Store("source", location, Access(Credentials("nobody", SECRET_KEY))).head()
    assert caught.value.kind is Kind.DENIED


def test_an_https_server_with_a_ca_of_its_own(request: pytest.FixtureRequest):
    server = request.getfixturevalue("minio_tls")
    server.client().create_bucket(Bucket="tls")
    location = S3Location(bucket="tls", key="k", endpoint=server.endpoint)
    keys = Credentials(ACCESS_KEY, SECRET_KEY)
    assert server.ca
    trusting = Store("source", location, Access(keys, server.ca.read_text()))
    assert trusting.head_or_none() is None
    with pytest.raises(S3Error, match="SSL"):
        Store("source", location, Access(keys)).head()


def test_every_request_on_the_wire_is_heard_of(location: S3Location):
    """Those that botocore repeats by itself as well."""
    heard: list[tuple[str, int | None]] = []

    def listen(operation: str, code: int | None) -> None:
        heard.append((operation, code))

    keys = Access(Credentials(ACCESS_KEY, SECRET_KEY))
    store = Store("destination", location, keys, listen)
    assert store.head_or_none() is None
    assert heard == [("HeadObject", 404), ("GetObject", 404)]
    store.list_uploads()
    assert heard[2:] == [("ListMultipartUploads", 200)]
    closed = S3Location(bucket="b", key="k", endpoint="http://127.0.0.1:1")
    with pytest.raises(S3Error):
        Store("destination", closed, keys, listen).list_uploads()
    assert heard[3:] == [("ListMultipartUploads", None)] * 3


def test_lists_of_many_pages(
    request: pytest.FixtureRequest, server: Server, location: S3Location, store: Store
) -> None:
    """By default some stores answer ten times as much at once, which is more than is read of one answer."""
    client, where = server.client(), {"Bucket": location.bucket, "Key": location.key}
    # versitygw 1.8 refuses its own marker for the second page of one key.
    count = 1005 if server is request.getfixturevalue("minio") else 5
    uploads = {client.create_multipart_upload(**where)["UploadId"] for _ in range(count)}
    listed, _ = store.list_uploads()
    assert (len(listed), {upload.id for upload in listed}) == (count, uploads)
    upload = uploads.pop()
    for number in range(1, 1006):
        client.upload_part(**where, UploadId=upload, PartNumber=number, Body=b"x")
    parts, _ = store.list_parts(upload)
    assert [part.number for part in parts] == list(range(1, 1006))


def test_what_a_store_does_in_silence_is_waited_for(location: S3Location) -> None:
    """Some join the parts of a large object before they answer; and none of it is sent twice unasked."""
    store = Store("destination", location, Access())
    configs = [client.meta.config for client in (store._once, store._calm)]
    assert [config.read_timeout for config in configs] == [900, 60]
    assert [config.retries["total_max_attempts"] for config in configs] == [1, 3]


def test_a_region_that_is_wrong_is_not_corrected_in_secret(versitygw: Server):
    """The workers go by what is written, and would be refused. (MinIO takes any.)"""
    bucket = f"control-{secrets.token_hex(4)}"
    versitygw.client().create_bucket(Bucket=bucket)
    versitygw.client().put_object(Bucket=bucket, Key="k", Body=b"x")
    elsewhere = S3Location(bucket, "k", endpoint=versitygw.endpoint, region="eu-central-1")
    store = Store("source", elsewhere, Access(Credentials(ACCESS_KEY, SECRET_KEY)))
    with pytest.raises(S3Error, match="us-east-1") as caught:
        store.head()
    assert (caught.value.kind, caught.value.code) == (
        Kind.PERMANENT,
        "AuthorizationHeaderMalformed",
    )
