"""By way of the proxies that the environment names, or around them."""

import base64
import json
from typing import Any

import pytest

from dev.servers import ACCESS_KEY, SECRET_KEY
from multipartcopy.api.location import S3Location
from multipartcopy.api.names import PROXY_VARIABLES
from multipartcopy.api.reasons import Reason
from multipartcopy.s3 import control
from multipartcopy.s3.errors import S3Error
from tests.forward_proxy import forward_proxy
from tests.s3.test_worker_copies import prepare

__all__ = ["prepare"]


@pytest.mark.parametrize(("kind", "scheme"), [("versitygw", "HTTP"), ("minio_tls", "HTTPS")])
@pytest.mark.parametrize("user", ["", "me:p%40ss@"], ids=["open", "with a password"])
def test_a_worker_goes_through_the_proxy(
    request: pytest.FixtureRequest, prepare: Any, kind: str, scheme: str, user: str
) -> None:
    store = request.getfixturevalue(kind)
    copy = prepare(store, store)
    credentials = f"Basic {base64.b64encode(b'me:p@ss').decode()}" if user else ""
    with forward_proxy(credentials) as way:
        copy.environment = {f"{scheme}_PROXY": f"http://{user}{way.authority}"}
        code, log = copy.run()
        assert code == 0
        assert way.carried > 2 * copy.task.size
    authority = store.endpoint.partition("://")[2]
    wanted = f"CONNECT {authority} " if scheme == "HTTPS" else f" http://{authority}/"
    assert all(wanted in line for line in way.requests)
    if scheme == "HTTPS":  # one tunnel for each connection, and not for each request
        assert len(way.requests) <= 2 * copy.task.streams + 1
    assert "p@ss" not in json.dumps(log) + copy.report_file.read_text()
    copy.complete()
    assert copy.stored_sha256() == copy.sha256


@pytest.mark.parametrize(("kind", "scheme"), [("versitygw", "HTTP"), ("minio_tls", "HTTPS")])
def test_a_worker_goes_around_the_proxy(
    request: pytest.FixtureRequest, prepare: Any, kind: str, scheme: str
) -> None:
    store = request.getfixturevalue(kind)
    copy = prepare(store, store)
    with forward_proxy() as way:
        copy.environment = {f"{scheme}_PROXY": f"http://{way.authority}", "NO_PROXY": "127.0.0.1"}
        assert copy.run()[0] == 0
        assert way.requests == []


@pytest.mark.parametrize(
    ("kind", "scheme", "url", "words"),
    [
        ("minio_tls", "HTTPS", "http://me:secret@{}", "407"),
        ("versitygw", "HTTP", "http://me:secret@{}", "407"),
        ("versitygw", "HTTP", "http://127.0.0.1:1", "refused"),
        ("minio_tls", "HTTPS", "https://me:secret@{}", "HTTPS_PROXY is not like http://proxy:3128"),
    ],
)
def test_a_proxy_that_lets_nobody_through_is_told(
    request: pytest.FixtureRequest, prepare: Any, kind: str, scheme: str, url: str, words: str
) -> None:
    store = request.getfixturevalue(kind)
    copy = prepare(store, store)
    with forward_proxy("Basic other") as way:
        copy.environment = {f"{scheme}_PROXY": url.format(way.authority)}
        code, log = copy.run()
    error = copy.report().error
    assert (code, error is not None) == (1, True)
    assert words in error.message
    assert "secret" not in json.dumps(log) + error.message


@pytest.fixture
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("_bare")
@pytest.mark.parametrize(("kind", "scheme"), [("versitygw", "HTTP"), ("minio_tls", "HTTPS")])
@pytest.mark.parametrize("around", [False, True])
def test_the_operator_goes_the_same_way(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    scheme: str,
    around: bool,
) -> None:
    store = request.getfixturevalue(kind)
    ca = store.ca.read_text() if store.ca else None
    location = S3Location("no-such-bucket", "k", endpoint=store.endpoint)
    keys = control.Credentials(ACCESS_KEY, SECRET_KEY)
    with forward_proxy() as way:
        monkeypatch.setenv(f"{scheme}_PROXY", f"http://{way.authority}")
        if around:
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        control._cached_client.cache_clear()
        with pytest.raises(S3Error) as caught:
            control.Store("source", location, control.Access(keys, ca)).head()
        control._cached_client.cache_clear()
    assert caught.value.reason in (Reason.SOURCE_NOT_FOUND, Reason.BUCKET_NOT_FOUND)
    assert bool(way.requests) is not around
