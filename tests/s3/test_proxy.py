"""The proxy itself: it changes nothing unless told, and each kind of fault is what its name says."""

import concurrent.futures
import contextlib
import http.client
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from dev.servers import ACCESS_KEY, SECRET_KEY, Server
from multipartcopy.worker.signing import UNSIGNED_PAYLOAD, Credentials, sign
from tests.proxy_client import Proxy, proxy, refusal

MiB = 1 << 20
BODY = bytes(range(256)) * 4096 * 3


@dataclass
class Before:
    """A server with the proxy before it, and a bucket."""

    server: Server
    proxy: Proxy
    bucket: str

    @property
    def client(self) -> Any:
        return replace(self.server, endpoint=self.proxy.endpoint).client()

    def raw(self, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
        """One unsigned request, without a retry."""
        host = self.proxy.endpoint.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=20)
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, f"/{self.bucket}/key", body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@pytest.fixture(scope="module", params=["versitygw", "minio"])
def standing(request: pytest.FixtureRequest) -> Iterator[Before]:
    server = request.getfixturevalue(request.param)
    with proxy(server.endpoint) as before:
        bucket = f"proxy-{uuid.uuid4().hex[:8]}"
        server.client().create_bucket(Bucket=bucket)
        yield Before(server, before, bucket)


@pytest.fixture
def there(standing: Before) -> Iterator[Before]:
    standing.server.client().put_object(Bucket=standing.bucket, Key="key", Body=BODY)
    yield standing
    standing.proxy.up()
    standing.proxy.open("drop")
    standing.proxy.clear()


def get(there: Before, **more: Any) -> bytes:
    return there.client.get_object(Bucket=there.bucket, Key="key", **more)["Body"].read()


def put(there: Before, body: bytes = BODY) -> None:
    there.client.put_object(Bucket=there.bucket, Key="key", Body=body)


def stored(there: Before) -> bytes:
    client = there.server.client()
    return client.get_object(Bucket=there.bucket, Key="key")["Body"].read()


def test_it_passes_everything_on_and_signatures_hold(there: Before) -> None:
    put(there, BODY[::-1])
    assert get(there) == stored(there) == BODY[::-1]
    assert get(there, Range="bytes=5-9") == BODY[::-1][5:10]
    assert there.client.head_object(Bucket=there.bucket, Key="key")["ContentLength"] == len(BODY)
    sent, *_ = there.proxy.log("^PUT ")
    assert (sent["status"], sent["request_bytes"], sent["rule"]) == (200, len(BODY), None)
    assert there.proxy.bytes_got() == len(BODY) + 5


def test_tls_on_both_sides(versitygw_tls: Server) -> None:
    with proxy(versitygw_tls.endpoint, versitygw_tls.ca) as before:
        client = replace(versitygw_tls, endpoint=before.endpoint).client()
        client.create_bucket(Bucket="proxy-tls")
        client.put_object(Bucket="proxy-tls", Key="key", Body=BODY)
        assert client.get_object(Bucket="proxy-tls", Key="key")["Body"].read() == BODY
        before.rule("^GET ", {"kind": "reset", "at": "answer-body", "after": 1000}, times=1)
        with pytest.raises((BotoCoreError, ConnectionError)):
            client.get_object(Bucket="proxy-tls", Key="key")["Body"].read()


def test_a_rule_is_chosen_by_request_head_body_and_count(there: Before) -> None:
    there.proxy.rules(
        {"match": "^GET /none", "do": refusal(500)},
        {"name": "range", "match": "^GET ", "header": "^Range: bytes=7-", "do": refusal(418)},
        {"name": "body", "match": "^PUT ", "body": "^needle", "do": refusal(409)},
        {
            "name": "third",
            "match": "^GET ",
            "skip": 2,
            "times": 1,
            "do": refusal(403, "AccessDenied"),
        },
    )
    client = there.client
    for _ in range(2):
        client.list_objects_v2(Bucket=there.bucket)
    with pytest.raises(ClientError, match="AccessDenied"):
        get(there)
    get(there)
    with pytest.raises(ClientError, match="418"):
        get(there, Range="bytes=7-9")
    assert there.raw("PUT", b"needle in a haystack")[0] == 409
    assert there.raw("PUT", b"a needle")[0] != 409
    rules = [entry["rule"] for entry in there.proxy.log()]
    assert rules == [None, None, "third", None, "range", "body", None]


@pytest.mark.parametrize(("how", "arrives"), [("forward", True), ("drop", False)])
@pytest.mark.parametrize("whole", [True, False])
def test_hold_a_request(there: Before, how: str, arrives: bool, whole: bool) -> None:
    there.proxy.hold("^PUT ", whole=whole)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        putting = pool.submit(put, there, b"new")
        assert there.proxy.wait_held()[0]["at"] == "request"
        assert stored(there) == BODY
        there.proxy.open(how)
        putting.exception(20)
    assert there.proxy.log("^PUT ")[0]["status"] == (200 if arrives else None)


def test_a_request_is_delivered_although_its_client_is_gone(there: Before) -> None:
    there.proxy.hold("^PUT ", whole=True)
    host, target = there.proxy.endpoint.removeprefix("http://"), f"/{there.bucket}/key"
    keys = Credentials(ACCESS_KEY, SECRET_KEY)
    headers = sign("PUT", target, {"Host": host}, UNSIGNED_PAYLOAD, "us-east-1", keys)
    connection = http.client.HTTPConnection(host)
    connection.request("PUT", target, b"late" * MiB, headers)
    there.proxy.wait_held()
    connection.close()
    there.proxy.open()
    until(lambda: stored(there) == b"late" * MiB)


def test_hold_an_answer(there: Before) -> None:
    there.proxy.hold("^PUT ", at="answer", times=1)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        putting = pool.submit(put, there, b"new")
        there.proxy.wait_held()
        assert stored(there) == b"new"
        assert not putting.done()
        there.proxy.release()
        putting.result(20)


@pytest.mark.parametrize("at", ["request", "request-body", "answer", "answer-body"])
def test_reset(there: Before, at: str) -> None:
    body = b"new" * MiB
    there.proxy.rule(".", {"kind": "reset", "at": at, "after": 10}, times=1)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        there.raw("GET") if at == "answer-body" else there.raw("PUT", body)
    assert there.proxy.spent()


def test_a_reset_answer_was_applied_and_a_reset_body_was_not(there: Before) -> None:
    there.proxy.rule("^PUT ", {"kind": "reset", "at": "request-body", "after": 2 * MiB}, times=1)
    put(there, b"first" * MiB)
    first = [entry["status"] for entry in there.proxy.log("^PUT ")]
    assert first == [None, 200]
    there.proxy.rule("^PUT ", {"kind": "reset", "at": "answer"}, times=1)
    there.proxy.clear()
    put(there, b"second")
    assert [entry["status"] for entry in there.proxy.log("^PUT ")] == [200, 200]


@pytest.mark.parametrize("at", ["request-body", "answer", "answer-body"])
def test_stall(there: Before, at: str) -> None:
    there.proxy.rule(".", {"kind": "stall", "at": at, "after": 9, "seconds": 1}, times=1)
    start = time.monotonic()
    get(there) if at == "answer-body" else put(there)
    assert time.monotonic() - start > 0.9
    assert stored(there) == BODY


@pytest.mark.parametrize("at", ["request-body", "answer-body"])
def test_trickle(there: Before, at: str) -> None:
    do = {"kind": "trickle", "at": at, "bytes_per_second": 2 * len(BODY)}
    there.proxy.rule(".", do, times=1)
    start = time.monotonic()
    if at == "request-body":
        put(there)
    else:
        assert get(there) == BODY
    assert 0.3 < time.monotonic() - start < 5


def test_truncate(there: Before) -> None:
    there.proxy.rule("^GET ", {"kind": "truncate", "after": 1000}, times=1)
    with pytest.raises(BotoCoreError):
        get(there)


@pytest.mark.parametrize("early", [False, True])
def test_answer(there: Before, early: bool) -> None:
    slow = refusal(503, "SlowDown", Retry_After="1")
    there.proxy.rule("^PUT ", {**slow, "early": early})
    status, body = there.raw("PUT", BODY)
    assert (status, b"SlowDown" in body) == (503, True)


def test_flip(there: Before) -> None:
    there.proxy.rule("^GET ", {"kind": "flip", "at": "answer-body", "offset": 70_000, "bit": 3})
    changed = bytearray(BODY)
    changed[70_000] ^= 8
    assert get(there) == changed
    there.proxy.rule("^PUT ", {"kind": "flip", "at": "request-body", "offset": 70_000, "bit": 3})
    with pytest.raises(ClientError):
        put(there)  # Its signature covers the body.


def test_edit(there: Before) -> None:
    there.proxy.rule(
        "^GET ",
        {
            "kind": "edit",
            "status": 206,
            "headers": {"ETag": '"other"', "Last-Modified": None, "Content-Type": "x/y"},
        },
    )
    answer = there.client.get_object(Bucket=there.bucket, Key="key")
    assert (answer["ETag"], answer["ContentType"]) == ('"other"', "x/y")
    assert "LastModified" not in answer
    assert answer["Body"].read() == BODY
    there.proxy.rule(
        r"^GET .*list-type", {"kind": "edit", "replace": [["<Contents>.*</Contents>", ""]]}
    )
    assert not there.client.list_objects_v2(Bucket=there.bucket).get("Contents")


def test_down_and_up(there: Before) -> None:
    there.proxy.hold("^PUT ")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        putting = pool.submit(there.raw, "PUT", b"new")
        there.proxy.wait_held()
        there.proxy.down()
        assert isinstance(putting.exception(20), ConnectionError | http.client.HTTPException)
    with pytest.raises(ConnectionRefusedError):
        there.raw()
    there.proxy.up()
    there.proxy.open("drop")
    assert get(there) == BODY


def test_a_rule_that_could_never_act_is_refused(there: Before) -> None:
    with pytest.raises(OSError, match="400"):
        there.proxy.rule(".", {"kind": "truncate", "at": "request"})


def until(condition: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
