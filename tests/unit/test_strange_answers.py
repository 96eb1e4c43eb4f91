"""What no server that we can run answers: other regions, proxies, stores with words of their own."""

from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from multipartcopy.api.location import S3Location
from multipartcopy.s3.control import (
    Access,
    CompletedPart,
    Credentials,
    ObjectInfo,
    Precondition,
    Store,
)
from multipartcopy.s3.errors import Kind, S3Error

KEYS = Access(Credentials("a", "s"))


class Strange(BaseHTTPRequestHandler):
    """Answers whatever is asked with ``status``, ``headers`` and, unless to a HEAD, ``body``."""

    status = 200
    headers_sent: dict[str, str] = {}  # noqa: RUF012 - each test sets its own
    body = b""
    hangs_up = False
    """In the middle of what it has announced."""

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(self.body)
        if self.hangs_up:
            self.close_connection = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(self.body)

    def _answer(self, body: bytes) -> None:
        self.send_response(self.status)
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        if body and self.hangs_up:
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n" % (len(body) + 1) + body
        elif body or self.status >= 300:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


Answer = Callable[..., None]


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Answer:
    def chosen(status: int, code: str = "", message: str = "", **headers: str) -> None:
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>" if code else ""
        monkeypatch.setattr(Strange, "status", status)
        monkeypatch.setattr(Strange, "body", body.encode())
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        monkeypatch.setattr(Strange, "headers_sent", named)

    return chosen


@pytest.fixture
def store() -> Iterator[Store]:
    server = HTTPServer(("127.0.0.1", 0), Strange)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        location = S3Location("b", "k", f"http://127.0.0.1:{server.server_port}")
        yield Store("destination", location, KEYS)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def refusal(ask: Callable[..., Any], *arguments: Any, **named: Any) -> S3Error:
    with pytest.raises(S3Error) as caught:
        ask(*arguments, **named)
    return caught.value


@pytest.mark.parametrize("ask", [Store.head, Store.head_or_none, Store.list_uploads])
def test_a_bucket_of_another_region_is_told_once_and_for_all(
    store: Store, answer: Answer, ask: Callable[[Store], object]
) -> None:
    answer(301, "PermanentRedirect", "not here", x_amz_bucket_region="eu-central-1")
    told = refusal(ask, store)
    assert (told.kind, told.reason) == (Kind.PERMANENT, "RequestRefused")
    assert str(told).endswith(
        "PermanentRedirect: not here (the bucket is in the region eu-central-1)"
    )


@pytest.mark.parametrize("region", ["", "a" * 41])
def test_only_what_is_a_region_is_repeated(store: Store, answer: Answer, region: str) -> None:
    answer(301, "PermanentRedirect", "not here", x_amz_bucket_region=region)
    assert str(refusal(store.head)).endswith("PermanentRedirect: not here")


def test_an_upload_that_is_called_a_missing_key_is_lost(store: Store, answer: Answer) -> None:
    answer(404, "NoSuchKey", "no such key")
    assert refusal(store.list_parts, "u").kind is Kind.NO_UPLOAD
    parts = [CompletedPart(1, "e")]
    sent = {"size": 1, "crc64nvme": None}
    told = refusal(store.complete, "u", parts, precondition=Precondition(), **sent)
    assert told.kind is Kind.NO_UPLOAD
    told = refusal(store.complete, "u", parts, precondition=Precondition(if_match="e"), **sent)
    assert told.kind is Kind.NO_OBJECT


def test_an_object_without_a_length_is_no_stores_word(store: Store, answer: Answer) -> None:
    answer(200, ETag='"e"')
    told = refusal(store.head)
    assert (told.kind, told.reason) == (Kind.RETRY, "DestinationUnavailable")
    assert "the answer is not S3's" in str(told)


def test_a_refusal_that_breaks_off_is_no_word_on_the_object(
    store: Store, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(403, "AccessDenied", "no")
    monkeypatch.setattr(Strange, "hangs_up", True)
    assert refusal(store.head).kind is Kind.RETRY


def test_a_first_part_of_nothing_tells_no_layout(store: Store, answer: Answer) -> None:
    answer(200, ETag='"e-2"', x_amz_mp_parts_count="2", Content_Length="0")
    assert store.part_layout(ObjectInfo(10, "e-2")) is None


@pytest.mark.parametrize(
    ("region", "endpoint"),
    [
        ("my_region", "http://127.0.0.1:1"),
        ("123", "http://127.0.0.1:1"),
        ("us-east-1", "https://a..b"),
        ("us-east-1", "https://a-.b"),
        ("us-east-1", f"https://{'a' * 64}.b"),
        ("us-east-1", "https://[1:2]"),
    ],
)
def test_where_nobody_can_be_is_refused(region: str, endpoint: str) -> None:
    told = refusal(Store, "source", S3Location("b", "k", endpoint, region), KEYS)
    assert (told.kind, told.reason) == (Kind.PERMANENT, "RequestRefused")
