"""A bucket of another region, as AWS answers for it; no server that we can run has regions."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from multipartcopy.api.location import S3Location
from multipartcopy.s3.control import Access, Credentials, Store
from multipartcopy.s3.errors import Kind, S3Error


class Elsewhere(BaseHTTPRequestHandler):
    region = "eu-central-1"

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(
            b"<Error><Code>PermanentRedirect</Code><Message>must be addressed otherwise</Message></Error>"
        )

    def _answer(self, body: bytes) -> None:
        self.send_response(301)
        self.send_header("x-amz-bucket-region", self.region)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def store() -> Iterator[Store]:
    server = HTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        location = S3Location("b", "k", f"http://127.0.0.1:{server.server_port}")
        yield Store("source", location, Access(Credentials("a", "s")))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("ask", [Store.head, Store.head_or_none, Store.list_uploads])
def test_it_is_told_once_and_for_all_which(store: Store, ask: object) -> None:
    assert callable(ask)
    with pytest.raises(S3Error) as caught:
        ask(store)
    assert caught.value.kind is Kind.PERMANENT
    assert caught.value.reason == "RequestRefused"
    assert str(caught.value).endswith(
        "PermanentRedirect: must be addressed otherwise (the bucket is in the region eu-central-1)"
    )


@pytest.mark.parametrize("region", ["", "a" * 41])
def test_only_what_is_a_region_is_repeated(
    store: Store, region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Elsewhere, "region", region)
    with pytest.raises(S3Error) as caught:
        store.head()
    assert str(caught.value).endswith("PermanentRedirect: must be addressed otherwise")
