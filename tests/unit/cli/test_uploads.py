"""Which multipart uploads nobody owns. The store's side is in tests/s3/test_uploads.py."""

from datetime import timedelta
from typing import Any

import pytest

from multipartcopy.cli.errors import Exit
from multipartcopy.cli.uploads import unowned
from multipartcopy.s3.control import KeyedUpload
from tests.unit.cli.api import Api, ended
from tests.unit.cli.conftest import Command
from tests.unit.facts import NOW


def upload(name: str, key: str = "key") -> KeyedUpload:
    return KeyedUpload(name, NOW, key)


def copy(key: str = "key", bucket: str = "bucket", **status: Any) -> dict[str, Any]:
    return {"spec": {"destination": {"s3": {"bucket": bucket, "key": key}}}, "status": status}


CLAIM = {"time": "2026-01-02T03:04:05Z"}


@pytest.mark.parametrize(
    ("why", "copies", "owned"),
    [
        ("there are no copies", [], False),
        ("one names it", [copy(upload={"id": "u"})], True),
        ("one of another bucket's name does", [copy(bucket="alias", upload={"id": "u"})], True),
        ("one that has ended still does", [copy(upload={"id": "u"}, **ended("Failed"))], True),
        ("one has claimed the key and records no upload yet", [copy(claim=CLAIM)], True),
        ("one has claimed another key", [copy("other", claim=CLAIM)], False),
        ("it was there before the claim", [copy(claim={**CLAIM, "uploads": ["u"]})], False),
        (
            "it was there before one claim, not before the other",
            [copy(claim={**CLAIM, "uploads": ["u"]}), copy(claim=CLAIM)],
            True,
        ),
        ("one has not claimed anything", [copy()], False),
        ("one has claimed the key and has ended", [copy(claim=CLAIM, **ended("Complete"))], False),
    ],
)
def test_owned(why: str, copies: list[dict[str, Any]], owned: bool):
    assert (unowned([upload("u")], "bucket", copies) == []) is owned, why


def test_a_young_one_is_left_out():
    old, young = upload("old"), KeyedUpload("young", NOW + timedelta(hours=1), "key")
    assert unowned([old, young], "bucket", [], before=NOW) == [old]


def test_a_source_of_another_kind_is_no_matter():
    body = {**copy(upload={"id": "u"}), "spec": {**copy()["spec"], "source": {"http": {}}}}
    assert unowned([upload("u")], "bucket", [body]) == []


@pytest.mark.parametrize(
    ("words", "secret", "code", "said"),
    [
        (["s3://b-b"], {}, Exit.USAGE, "write either --secret=NAME"),
        (["https://b", "--secret=s"], {}, Exit.USAGE, "is no URL of S3"),
        (["s3://b-b", "--secret=s"], {}, Exit.NOT_FOUND, "there is no Secret s in namespace"),
        (
            ["s3://b-b", "--anonymous", "--endpoint=nonsense"],
            {},
            Exit.USAGE,
            "endpoint 'nonsense' is not",
        ),
        (["s3://b-b", "--secret=s"], {"x": "eA=="}, Exit.NOT_FOUND, "Secret s lacks AWS_"),
        (
            ["s3://b-b", "--anonymous", "--endpoint=http://127.0.0.1:1"],
            {},
            Exit.UNREACHABLE,
            "s3://b-b/: ListMultipartUploads: EndpointConnectionError",
        ),
    ],
)
def test_no_way_in(
    api: Api,
    run: Command,
    words: list[str],
    secret: dict[str, str],
    code: Exit,
    said: str,
    capsys: pytest.CaptureFixture[str],
):
    if secret:
        api.secrets["s"] = secret
    assert run("uploads", *words) == code
    assert said in capsys.readouterr().err
