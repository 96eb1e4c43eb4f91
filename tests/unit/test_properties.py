"""What an object is asked to be made with."""

from dataclasses import replace

import pytest

from multipartcopy.api.names import SOURCE_STAMP
from multipartcopy.api.spec import EncryptionType, ServerSideEncryption
from multipartcopy.s3.properties import Properties, Wanted, given
from tests.unit.facts import SPEC

TO = SPEC.destination.s3
KEPT = Properties(
    {"ContentType": "text/a", "CacheControl": "no-cache"},
    {"who": "them", "Where": "there", SOURCE_STAMP: "of another copy"},
    {"team": "a", "cost": "1"},
    "STANDARD_IA",
)


def test_nothing_is_given_by_default():
    assert given(TO) == Properties()
    assert Wanted().arguments("s") == {"Metadata": {SOURCE_STAMP: "s"}}


def test_what_is_kept():
    assert Wanted(kept=KEPT).arguments("s") == {
        "ContentType": "text/a",
        "CacheControl": "no-cache",
        "Metadata": {"who": "them", "where": "there", SOURCE_STAMP: "s"},
        "Tagging": "team=a&cost=1",
        "StorageClass": "STANDARD_IA",
    }


def test_what_is_given_wins_key_by_key():
    to = replace(
        TO,
        content_type="text/b",
        content_language="de",
        metadata={"who": "us", "where": "here"},
        tags={"team": "b"},
        storage_class="GLACIER_IR",
    )
    assert Wanted(given(to), KEPT).arguments("s") == {
        "ContentType": "text/b",
        "ContentLanguage": "de",
        "CacheControl": "no-cache",
        "Metadata": {"who": "us", "where": "here", SOURCE_STAMP: "s"},
        "Tagging": "team=b&cost=1",
        "StorageClass": "GLACIER_IR",
    }


@pytest.mark.parametrize(
    ("tags", "sent"),
    [
        ({"a b": "c+d", "e=f": "g&h/i"}, "a%20b=c%2Bd&e%3Df=g%26h%2Fi"),
        ({"ключ": ""}, "%D0%BA%D0%BB%D1%8E%D1%87="),
    ],
)
def test_tags_are_encoded(tags, sent):
    assert Wanted(Properties(tags=tags)).arguments("s")["Tagging"] == sent


def test_what_is_not_ascii_is_sent_as_s3_writes_it():
    made = Wanted(Properties({"ContentDisposition": "ü"}, {"who": "Ω"})).arguments("s")
    assert made["ContentDisposition"] == "=?utf-8?b?w7w=?="
    assert made["Metadata"]["who"] == "=?utf-8?b?zqk=?="


@pytest.mark.parametrize(("length", "stamped"), [(2047 - 20 - 1 - 4, True), (2048 - 20 - 1, False)])
def test_the_stamp_gives_way(length, stamped):
    metadata = Wanted(Properties(metadata={"k": "x" * length})).arguments("mark")["Metadata"]
    assert (SOURCE_STAMP in metadata) == stamped
    assert metadata["k"]


@pytest.mark.parametrize(
    ("encryption", "sent"),
    [
        (ServerSideEncryption(EncryptionType.AES256), {"ServerSideEncryption": "AES256"}),
        (ServerSideEncryption(EncryptionType.KMS), {"ServerSideEncryption": "aws:kms"}),
        (
            ServerSideEncryption(EncryptionType.KMS, "key"),
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key"},
        ),
    ],
)
def test_encryption(encryption, sent):
    made = Wanted(encryption=encryption).arguments("s")
    assert made == {**sent, "Metadata": {SOURCE_STAMP: "s"}}
