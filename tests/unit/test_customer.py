"""Keys of the customer: read from Secrets, sent with requests, and told nobody else."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from multipartcopy.api.location import Reference, S3Location
from multipartcopy.api.reasons import Reason
from multipartcopy.api.spec import Mode, Spec
from multipartcopy.api.status import Way
from multipartcopy.api.task import decode_task
from multipartcopy.jobs import Image, build_job
from multipartcopy.reconcile import outcome
from multipartcopy.s3.control import Access, ObjectInfo
from multipartcopy.s3.customer import read_key
from multipartcopy.s3.secrets import MissingSecretError, access
from multipartcopy.worker.errors import Side
from multipartcopy.worker.http import Store
from tests.unit.facts import FULL, OWNER, SPEC, UPLOADING, facts
from tests.unit.test_kubernetes import missing

RAW = bytes(range(224, 256))
"""No UTF-8."""
TEXT = base64.b64encode(RAW).decode()
MD5 = base64.b64encode(hashlib.md5(RAW, usedforsecurity=False).digest()).decode()
KEYS = Reference("keys")


def with_keys(*sides: str, spec: Spec = SPEC) -> Spec:
    for side in sides:
        end = getattr(spec, side)
        here = replace(end.s3, endpoint="https://a:1", sse_customer_key_secret_ref=KEYS)
        spec = replace(spec, **{side: replace(end, s3=here)})
    return spec


@pytest.mark.parametrize(
    "data", [RAW, TEXT.encode(), f" {TEXT}\n".encode(), b"0123456789abcdef" * 2]
)
def test_a_key_is_32_bytes_or_their_base64(data: bytes) -> None:
    key = read_key(data)
    assert len(base64.b64decode(key.key)) == 32
    assert key.md5 != key.key
    assert key.key not in repr(Access(customer_key=key)) + repr(key)


@pytest.mark.parametrize("data", [b"", RAW[1:], RAW + b"\n", TEXT[:-4].encode(), b"*" * 44])
def test_what_is_no_key_is_not_shown(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^must be 32 bytes, or their base64$"):
        read_key(data)


def test_what_goes_with_a_request() -> None:
    key = read_key(RAW)
    assert set(key.arguments().values()) == set(key.headers().values()) == {"AES256", TEXT, MD5}


def entered(secret: Mapping[str, str] | None) -> Access:
    location = S3Location("b", "k", anonymous=True, sse_customer_key_secret_ref=KEYS)
    return access(lambda name, _: secret if name == "keys" else None, "default", location)


def test_a_secret_that_is_no_text() -> None:
    """As kube.get_secret decodes it."""
    assert entered({"key": RAW.decode(errors="surrogateescape")}).customer_key == read_key(RAW)


@pytest.mark.parametrize(
    ("secret", "reason", "words"),
    [
        (None, Reason.SECRET_NOT_FOUND, "there is no Secret keys in namespace default"),
        ({"other": "x"}, Reason.SECRET_INVALID, "Secret keys lacks key; it needs key"),
        ({"key": "a-secret"}, Reason.SECRET_INVALID, "Secret keys: key must be 32 bytes, or"),
    ],
)
def test_a_secret_without_a_key(
    secret: Mapping[str, str] | None, reason: Reason, words: str
) -> None:
    with pytest.raises(MissingSecretError, match=words) as caught:
        entered(secret)
    assert caught.value.reason == reason
    assert "a-secret" not in str(caught.value)


def test_a_pod_has_it_mounted_and_nobody_is_told() -> None:
    spec = with_keys("source", "destination")
    job = build_job(OWNER, spec, UPLOADING, missing(UPLOADING), Image("i"))
    pod = job["spec"]["template"]["spec"]
    mounted = {v["name"]: v["projected"]["sources"] for v in pod["volumes"]}
    projection = {"secret": {"name": "keys", "items": [{"key": "key", "path": "key"}]}}
    assert mounted["source-key"] == mounted["destination-key"] == [projection]
    task = decode_task(pod["containers"][0]["env"][0]["value"])
    assert task.encryption == "SSE-C"
    assert task.destination.sse_customer_key_secret_ref == KEYS
    assert TEXT not in json.dumps(job)


def test_a_worker_sends_and_signs_it(tmp_path: Path) -> None:
    for directory, name, content in (
        ("source", "AWS_ACCESS_KEY_ID", b"a"),
        ("source", "AWS_SECRET_ACCESS_KEY", b"s"),
        ("source-key", "key", RAW),
    ):
        (tmp_path / directory).mkdir(exist_ok=True)
        (tmp_path / directory / name).write_bytes(content)
    store = Store(Side.SOURCE, with_keys("source").source.s3, tmp_path)
    sent = store.signed("GET", "/b/k", {"Range": "bytes=0-1"}, "UNSIGNED-PAYLOAD")
    assert sent["x-amz-server-side-encryption-customer-key"] == TEXT
    assert sent["x-amz-server-side-encryption-customer-key-MD5"] == MD5
    assert "x-amz-server-side-encryption-customer-key;" in sent["Authorization"]


@pytest.mark.parametrize("side", ["source", "destination"])
def test_within_a_store_it_goes_through_the_workers(side: str) -> None:
    spec = with_keys("source", "destination")
    other = "destination" if side == "source" else "source"
    end = getattr(spec, other)
    here = replace(end.s3, sse_customer_key_secret_ref=None)
    spec = replace(spec, **{other: replace(end, s3=here)})
    found = ObjectInfo(size=100, etag="a" * 32)
    seen = outcome.Inspection(found, None, None, (), facts().now)
    status = outcome.claim(facts(spec=spec), seen).status
    assert status.mode is Way.RELAY
    assert status.server_side_refused == f"spec.{side}.s3.sseCustomerKeySecretRef is set"
    asked = outcome.claim(facts(spec=replace(spec, mode=Mode.RELAY)), seen).status
    assert asked.server_side_refused is None


def test_etags_are_no_md5s() -> None:
    upload = outcome.uploading(facts(FULL, with_keys("destination")), FULL.upload).status.upload
    assert upload.encrypted
    assert not upload.md5
