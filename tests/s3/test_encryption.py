"""Objects that their store encrypts, in whole copies between real servers."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.servers import KMS_KEY, Server
from multipartcopy.api.reasons import Reason
from tests.s3.copying import COMPLETE, SIZE, Copy, Pair, copying, pair
from tests.s3.local_cluster import shortened

AES256 = {"serverSideEncryption": {"type": "AES256"}}
KMS = {"serverSideEncryption": {"type": "aws:kms", "kmsKeyId": KMS_KEY}}
RAW = b"0123456789abcdefghijklmnopqrstuv"
OTHER = bytes(range(32))


@pytest.fixture(scope="module")
def plain(minio: Server) -> Iterator[Pair]:
    with pair(minio) as made, shortened():
        yield made


@pytest.fixture(scope="module")
def tls(minio_tls: Server) -> Iterator[Pair]:
    with pair(minio_tls) as made, shortened():
        yield made


def is_copied(copy: Copy, result: str | None = None, **key: Any) -> dict[str, Any]:
    assert copy.end() == Reason.COPIED, copy.message
    client, where = copy.client(), {"Bucket": copy.bucket, "Key": "to", **key}
    assert client.get_object(**where)["Body"].read() == copy.data
    assert copy.uploads() == []
    if result:
        assert copy.status["verification"]["result"] == result
    return dict(client.head_object(**where))


@pytest.mark.parametrize("size", [SIZE, 1, 0])
@pytest.mark.parametrize("how", [AES256, KMS], ids=["AES256", "KMS"])
@pytest.mark.parametrize("verification", ["Auto", "PartMD5", "ReadBack", "None"])
def test_it_is_encrypted_as_asked(
    plain: Pair, tmp_path: Path, size: int, how: dict[str, Any], verification: str
) -> None:
    with copying(plain, tmp_path, bytes(size)) as copy:
        copy.destination_more = how
        copy.start(verification=verification)
        head = is_copied(copy)
        wanted = how["serverSideEncryption"]
        assert head["ServerSideEncryption"] == wanted["type"]
        if how is KMS:
            assert head["SSEKMSKeyId"].endswith(KMS_KEY)
        if size:
            assert copy.status["upload"].get("encrypted", False) == (how is KMS)
        if verification in ("Auto", "ReadBack"):
            assert copy.status["verification"]["transfer"]


@pytest.mark.parametrize("how", [AES256, KMS], ids=["AES256", "KMS"])
def test_an_encrypted_source(plain: Pair, tmp_path: Path, how: dict[str, Any]) -> None:
    kind = how["serverSideEncryption"]["type"]
    with copying(plain, tmp_path, ServerSideEncryption=kind) as copy:
        copy.start()
        head = is_copied(copy)
        assert "ServerSideEncryption" not in head
        assert copy.status["source"].get("encrypted", False) == (how is KMS)


@pytest.mark.parametrize("how", [AES256, KMS], ids=["AES256", "KMS"])
def test_within_a_store(plain: Pair, tmp_path: Path, how: dict[str, Any]) -> None:
    with copying(plain, tmp_path) as copy:
        copy.destination_more = how
        copy.start(within=True)
        head = is_copied(copy)
        assert head["ServerSideEncryption"] == how["serverSideEncryption"]["type"]


def test_a_key_that_the_store_does_not_know(plain: Pair, tmp_path: Path) -> None:
    with copying(plain, tmp_path) as copy:
        copy.destination_more = {
            "serverSideEncryption": {"type": "aws:kms", "kmsKeyId": "no-such-key"}
        }
        copy.start()
        copy.until(lambda: copy.reason == "DestinationUnavailable", 30)
        assert "CreateMultipartUpload: kms:KeyNotFound" in copy.message
        assert copy.stored() is None


@pytest.mark.parametrize("how", [AES256, KMS], ids=["AES256", "KMS"])
@pytest.mark.parametrize("size", [SIZE, 0])
@pytest.mark.parametrize("within", [False, True], ids=["between", "within"])
def test_a_store_that_ignores_it_in_silence(
    versitygw: Server, tmp_path: Path, how: dict[str, Any], size: int, within: bool
) -> None:
    """versitygw encrypts nothing."""
    with pair(versitygw) as between, shortened(), copying(between, tmp_path, bytes(size)) as copy:
        copy.destination_more = how
        copy.start(within=within)
        assert copy.end() == Reason.NOT_ENCRYPTED, copy.message
        assert copy.stored() is None
        assert copy.uploads() == []
        if size and not within:
            assert copy.pair.destination.log(COMPLETE["match"]) == []
        else:
            assert copy.message.endswith("it was deleted")


def test_an_equal_object_that_is_not_encrypted_is_left_and_that_is_said(
    plain: Pair, tmp_path: Path
) -> None:
    with copying(plain, tmp_path) as copy:
        copy.put("to", copy.data)
        copy.destination_more = AES256
        copy.start()
        assert copy.end() == Reason.ALREADY_EQUAL
        assert "serverSideEncryption" in copy.message


# Keys of the customer.


def customer(key: bytes) -> dict[str, str]:
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}  # type: ignore[dict-item]


def with_keys(copy: Copy, source: bytes | None, destination: bytes | None) -> None:
    if source:
        copy.cluster.secrets["from-key"] = {"key": base64.b64encode(source).decode() + "\n"}
        copy.source_more = {"sseCustomerKeySecretRef": {"name": "from-key"}}
    if destination:
        copy.cluster.secrets["to-key"] = {"key": base64.b64encode(destination).decode()}
        copy.destination_more = {"sseCustomerKeySecretRef": {"name": "to-key"}}


def nobody_was_told(copy: Copy, directory: Path) -> None:
    """Of a key, but for the pods that have it mounted."""
    cluster = copy.cluster
    told = json.dumps([cluster.copies, cluster.jobs, cluster.events])
    told += json.dumps([pod.body for pod in cluster.pods.values()])
    for file in directory.rglob("*"):
        if file.is_file() and "secrets" not in file.parts:
            told += file.read_text(errors="replace")
    for key in (RAW, OTHER):
        assert base64.b64encode(key).decode() not in told
    assert RAW.decode() not in told


@pytest.mark.parametrize("size", [SIZE, 0])
@pytest.mark.parametrize("verification", ["Auto", "PartMD5", "ReadBack", "None"])
@pytest.mark.parametrize(
    ("source", "destination"),
    [(RAW, None), (None, RAW), (RAW, RAW), (RAW, OTHER)],
    ids=["source", "destination", "one key", "two keys"],
)
def test_keys_of_the_customer(
    tls: Pair,
    tmp_path: Path,
    source: bytes | None,
    destination: bytes | None,
    verification: str,
    size: int,
) -> None:
    there = customer(source) if source else {}
    with copying(tls, tmp_path, bytes(size), **there) as copy:
        with_keys(copy, source, destination)
        copy.start(verification=verification)
        head = is_copied(copy, **(customer(destination) if destination else {}))
        assert head.get("SSECustomerAlgorithm") == ("AES256" if destination else None)
        assert copy.status["source"].get("encrypted", False) == bool(source)
        if size:
            assert copy.status["upload"].get("encrypted", False) == bool(destination)
        if verification == "ReadBack":
            assert copy.status["verification"]["result"] == "Verified"
        nobody_was_told(copy, tmp_path)


def test_a_key_of_32_raw_bytes(tls: Pair, tmp_path: Path) -> None:
    with copying(tls, tmp_path, **customer(RAW)) as copy:
        with_keys(copy, RAW, RAW)
        copy.cluster.secrets["from-key"] = {"key": RAW.decode()}
        copy.start()
        is_copied(copy, **customer(RAW))
        nobody_was_told(copy, tmp_path)


def test_within_a_store_keys_of_the_customer_relay(tls: Pair, tmp_path: Path) -> None:
    with copying(tls, tmp_path, **customer(RAW)) as copy:
        with_keys(copy, RAW, OTHER)
        copy.start(within=True)
        is_copied(copy, **customer(OTHER))
        assert copy.status["mode"] == "Relay"
        refused = "spec.source.s3.sseCustomerKeySecretRef is set"
        assert copy.status["serverSideRefused"] == refused


@pytest.mark.parametrize("key", [OTHER, None], ids=["wrong", "none"])
def test_a_source_of_another_key(tls: Pair, tmp_path: Path, key: bytes | None) -> None:
    with copying(tls, tmp_path, **customer(RAW)) as copy:
        with_keys(copy, key, None)
        copy.start()
        copy.until(lambda: copy.reason in ("RequestRefused", "AccessDenied"), 30)
        assert copy.uploads() == []


def test_a_source_without_encryption(tls: Pair, tmp_path: Path) -> None:
    """What a store makes of a key that it does not need is its own affair; bytes are not lost by it."""
    with copying(tls, tmp_path) as copy:
        with_keys(copy, RAW, None)
        copy.start()
        assert copy.end() in (Reason.COPIED, Reason.REQUEST_REFUSED), copy.message


@pytest.mark.parametrize("size", [SIZE, 0])
@pytest.mark.parametrize("there", [{}, customer(RAW)], ids=["none", "same"])
@pytest.mark.parametrize("overwrite", ["IfDifferent", "Always"])
def test_what_is_there_is_replaced(
    tls: Pair, tmp_path: Path, there: dict[str, Any], overwrite: str, size: int
) -> None:
    with copying(tls, tmp_path, bytes(size)) as copy:
        copy.client().put_object(Bucket=copy.bucket, Key="to", Body=b"another", **there)
        with_keys(copy, None, RAW)
        copy.start(overwrite=overwrite)
        is_copied(copy, **customer(RAW))


def test_an_object_with_another_key_cannot_be_looked_at(tls: Pair, tmp_path: Path) -> None:
    with copying(tls, tmp_path) as copy:
        client = copy.client()
        client.put_object(Bucket=copy.bucket, Key="to", Body=b"theirs", **customer(OTHER))
        with_keys(copy, None, RAW)
        copy.start(overwrite="Always")
        assert copy.end() == Reason.ACCESS_DENIED
        theirs = client.get_object(Bucket=copy.bucket, Key="to", **customer(OTHER))
        assert theirs["Body"].read() == b"theirs"


def test_a_copy_with_keys_goes_on_after_deaths(tls: Pair, tmp_path: Path) -> None:
    with copying(tls, tmp_path, **customer(RAW)) as copy:
        with_keys(copy, RAW, OTHER)
        copy.pair.destination.hold(r"^PUT .*[?&]partNumber=2&", times=1)
        copy.start()
        copy.pair.destination.wait_held()
        copy.restart()
        copy.pair.destination.open("drop")
        is_copied(copy, **customer(OTHER))


def test_an_answer_to_a_completion_is_lost(tls: Pair, tmp_path: Path) -> None:
    with copying(tls, tmp_path) as copy:
        with_keys(copy, None, RAW)
        copy.pair.destination.rules(
            {**COMPLETE, "times": 1, "do": {"kind": "reset", "at": "answer"}}
        )
        copy.start()
        is_copied(copy, **customer(RAW))


def test_a_store_that_ignores_the_key_of_the_customer(
    versitygw_tls: Server, tmp_path: Path
) -> None:
    with pair(versitygw_tls) as between, shortened(), copying(between, tmp_path) as copy:
        with_keys(copy, None, RAW)
        copy.start()
        assert copy.end() == Reason.NOT_ENCRYPTED, copy.message
        assert copy.stored() is None
        assert copy.uploads() == []


def test_a_secret_that_is_no_key(tls: Pair, tmp_path: Path) -> None:
    with copying(tls, tmp_path) as copy:
        with_keys(copy, None, b"short")
        copy.start()
        copy.until(lambda: copy.reason == Reason.SECRET_INVALID, 30)
        with_keys(copy, None, RAW)
        is_copied(copy, **customer(RAW))
