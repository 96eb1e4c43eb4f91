"""Which endpoints are spoken to, and what of their answers is repeated."""

import contextlib
import http.server
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dev.servers import LOOPBACK
from multipartcopy import commands
from multipartcopy.api.location import AddressingStyle, HttpLocation, S3Location
from multipartcopy.api.names import PROXY_VARIABLES
from multipartcopy.api.reasons import Reason
from multipartcopy.api.task import UrlSource, Validator
from multipartcopy.jobs import build_task
from multipartcopy.reconcile.act import Effects
from multipartcopy.s3 import control, web
from multipartcopy.s3.control import Access
from multipartcopy.s3.errors import Kind, S3Error
from multipartcopy.s3.guard import EndpointRefusedError, Guard, parse_guard
from multipartcopy.s3.properties import Wanted
from multipartcopy.worker.errors import Failure, Side
from multipartcopy.worker.http import Connection, Store
from multipartcopy.worker.main import _source
from tests.unit.facts import SPEC, UPLOADING

TASK = build_task(SPEC, UPLOADING, [])
HIDDEN = "what-only-we-can-reach"


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.0.9", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::127.0.0.1", "loopback"),
        ("64:ff9b::7f00:1", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("0.0.0.0", "unspecified"),  # noqa: S104
        ("::", "unspecified"),
        ("169.254.169.254", "link-local"),
        ("169.254.170.23", "link-local"),
        ("::ffff:169.254.169.254", "link-local"),
        ("64:ff9b::a9fe:a9fe", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("fd00:ec2::254", "metadata"),
        ("fd00:ec2::23", "metadata"),
        ("fd20:ce::254", "metadata"),
        ("100.100.100.200", "metadata"),
        ("192.0.0.192", "metadata"),
        ("168.63.129.16", "metadata"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "broadcast"),
    ],
)
def test_what_is_refused_unless_it_is_allowed(address: str, kind: str) -> None:
    for allowed in ("", "*", "*,10.0.0.0/8", "0.0.0.0/0,::/0,*"):
        with pytest.raises(EndpointRefusedError, match=kind):
            parse_guard(allowed).check_address("store.example", address)


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "192.168.1.1", "172.16.0.1", "52.216.0.1", "fd00::1", "2600::1"]
)
def test_what_is_spoken_to(address: str) -> None:
    """Most stores of a cluster are at private addresses."""
    Guard().check_address("store.example", address)


@pytest.mark.parametrize(
    ("allowed", "host", "address", "good"),
    [
        ("*.example", "store.example", "10.0.0.1", True),
        ("*.example", "STORE.example.", "10.0.0.1", True),
        ("*.example", "example", "10.0.0.1", False),
        ("*.example", "store.example.org", "10.0.0.1", False),
        ("store.example", "store.example", "10.0.0.1", True),
        ("10.0.0.0/8", "any", "10.0.0.1", True),
        ("10.0.0.0/8", "any", "11.0.0.1", False),
        ("10.0.0.1", "any", "10.0.0.1", True),
        ("fd00:1::/32 *.example", "any", "fd00:1::9", True),
        ("fd00:1::/32 *.example", "a.example", "10.0.0.1", True),
        ("127.0.0.0/8", "any", "127.0.0.1", True),
        ("127.0.0.0/8", "any", "10.0.0.1", False),
        ("127.0.0.0/8,*", "any", "10.0.0.1", True),
        ("127.0.0.1", "any", "127.0.0.1", True),
        ("127.0.0.1", "any", "127.0.0.2", False),
        ("127.0.0.0/8", "any", "169.254.169.254", False),
        ("::1", "any", "::1", True),
        ("126.0.0.0/7", "any", "127.0.0.1", False),
    ],
)
def test_what_the_list_says(allowed: str, host: str, address: str, good: bool) -> None:
    guard = parse_guard(allowed)
    if good:
        guard.check_address(host, address)
    else:
        with pytest.raises(EndpointRefusedError, match="--allow-endpoints"):
            guard.check_address(host, address)


@pytest.mark.parametrize(
    ("allowed", "host", "proxied", "good"),
    [
        ("", "[::1]", False, False),
        ("", "127.1", False, False),
        ("", "2130706433", False, False),
        ("", "0x7f.1", False, False),
        ("", "0xa9fea9fe", True, False),
        ("", "169.254.169.254", True, False),
        ("", "localhost", False, True),  # as long as it does not stand for one of these addresses
        ("", "localhost", True, False),
        ("", "a.LOCALHOST.", True, False),
        ("", "metadata.google.internal", True, False),
        ("", "store.example", True, True),
        ("*.example", "store.example", True, True),
        ("*.example", "store.other", True, False),
        ("*.example", "store.other", False, True),  # to be told by its address
        ("10.0.0.0/8", "store.example", True, False),
        ("10.0.0.0/8", "10.0.0.9", True, True),
        ("", "face.d00d", True, True),
    ],
)
def test_what_a_name_tells_already(allowed: str, host: str, proxied: bool, good: bool) -> None:
    guard = parse_guard(allowed)
    if good:
        guard.check_name(host, proxied=proxied)
    else:
        with pytest.raises(EndpointRefusedError):
            guard.check_name(host, proxied=proxied)


def test_a_list_that_is_none(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    for wrong in ("http://a", "10.0.0.0/33", "a b;c", "-a", "a_/b"):
        with pytest.raises(ValueError, match="neither like"):
            parse_guard(wrong)
    chosen: list[str] = []
    monkeypatch.setattr(
        commands, "_operate", lambda options: chosen.append(options.allow_endpoints)
    )
    monkeypatch.setattr(sys, "argv", ["multipartcopy", "operator"])
    commands.main()
    monkeypatch.setenv("MULTIPARTCOPY_ALLOW_ENDPOINTS", "*.example")
    commands.main()
    assert chosen == ["", "*.example"]
    monkeypatch.setattr(sys, "argv", ["multipartcopy", "operator", "--allow-endpoints=a/b"])
    with pytest.raises(SystemExit):
        commands.main()
    assert "is neither like *.example.com nor like 10.0.0.0/8" in capsys.readouterr().err


class Server(http.server.ThreadingHTTPServer):
    """Answers all the same; ``asked`` are the requests."""

    status: int | str = 200
    body = b""
    headers: dict[str, str]
    asked: list[str]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def answer(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        self.wfile.write(f"HTTP/1.1 {self.server.status} {HIDDEN}\r\n".encode())
        for name, value in {"Content-Length": len(self.server.body), **self.server.headers}.items():
            self.wfile.write(f"{name}: {value}\r\n".encode())
        self.wfile.write(b"Date: Thu, 01 Jan 2026 00:00:00 GMT\r\nConnection: close\r\n\r\n")
        if self.command != "HEAD":
            self.wfile.write(self.server.body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 - as the base class calls them

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.asked, server.headers = [], {}
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def server(shared: Server) -> Server:
    """One, for its clients, which take long to make."""
    shared.asked, shared.headers, shared.status, shared.body = [], {}, 200, b""
    return shared


@pytest.fixture
def other() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)


def at(server: Server, host: str = "127.0.0.1") -> S3Location:
    endpoint = f"http://{host}:{server.server_port}"
    style = AddressingStyle.PATH
    return S3Location("bucket", "key", endpoint, addressing_style=style, anonymous=True)


def operators(location: S3Location, allowed: str = LOOPBACK) -> control.Store:
    return control.Store("destination", location, Access(), guard=parse_guard(allowed))


def ask_as_worker(location: S3Location, allowed: str = LOOPBACK) -> None:
    store = Store(Side.SOURCE, location, Path("/nowhere"), parse_guard(allowed))
    connection = Connection(store, silence=5, step=5)
    try:
        connection.request("GET", {}, {}, "UNSIGNED-PAYLOAD")
        connection.read(connection.answer())
    finally:
        connection.close()


@pytest.mark.parametrize("allowed", ["", "*", "10.0.0.0/8"])
@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "store.example"])
def test_nothing_is_sent_to_a_refused_address(
    monkeypatch: pytest.MonkeyPatch, server: Server, host: str, allowed: str
) -> None:
    """Whatever it is called: by its name as well."""
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda _, *rest, **more: resolve("127.0.0.1", *rest, **more)
    )
    with pytest.raises(S3Error) as caught:
        operators(at(server, host), allowed).head()
    assert caught.value.kind is Kind.REFUSED
    assert caught.value.reason is Reason.ENDPOINT_REFUSED
    assert "a loopback address" in caught.value.message
    with pytest.raises(Failure) as failed:
        ask_as_worker(at(server, host), allowed)
    assert (failed.value.reason, failed.value.permanent) == (Reason.ENDPOINT_REFUSED, False)
    assert server.asked == []


@pytest.mark.parametrize("allowed", ["", "*", "10.0.0.0/8"])
@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "web.example"])
def test_nothing_is_sent_to_a_refused_address_of_a_url(
    monkeypatch: pytest.MonkeyPatch, server: Server, host: str, allowed: str
) -> None:
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda _, *rest, **more: resolve("127.0.0.1", *rest, **more)
    )
    location, guard = HttpLocation(f"http://{host}:{server.server_port}/a"), parse_guard(allowed)
    with pytest.raises(S3Error) as caught:
        web.Site(location, Access(), guard=guard).look()
    assert (caught.value.kind, caught.value.reason) == (Kind.REFUSED, Reason.ENDPOINT_REFUSED)
    task = replace(TASK, source=None, url=UrlSource(location, Validator.ETAG))
    source = _source(task, Path("/nowhere"), guard)
    connection = Connection(source, silence=5, step=5)
    with pytest.raises(Failure) as failed:
        connection.request("GET", {}, {}, "UNSIGNED-PAYLOAD")
    assert failed.value.reason == Reason.ENDPOINT_REFUSED
    assert server.asked == []


def test_a_worker_has_one_guard_for_both_kinds_of_sources(server: Server) -> None:
    url = UrlSource(HttpLocation("http://web.example/a"), Validator.ETAG)
    for task in (TASK, replace(TASK, source=None, url=url)):
        guard = Guard(("*.example",))
        assert _source(task, Path("/nowhere"), guard).guard is guard


def test_a_name_that_means_another_address_by_the_time_of_the_connection(
    monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    """DNS rebinding: it is harmless when it is looked up, and not when it is connected to."""
    resolve, asked = socket.getaddrinfo, []

    def rebind(host: str, port: int, *rest: Any, **more: Any) -> Any:
        asked.append(host)
        return resolve("192.0.2.1" if len(asked) % 2 else "127.0.0.1", port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", rebind)
    with pytest.raises(S3Error) as caught:
        operators(at(server, "store.example"), "").head()
    assert caught.value.kind is Kind.REFUSED
    assert set(asked) == {"store.example"}
    assert server.asked == []


def test_an_operator_has_a_guard_without_being_told() -> None:
    effects = Effects(None, None, None, None)  # type: ignore[arg-type]
    with pytest.raises(EndpointRefusedError):
        effects.guard.check_address("any", "169.254.169.254")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(server: Server, other: Server, status: int) -> None:
    """Not even as botocore follows those of regions: it asks the same host for the bucket's."""
    server.status = status
    server.headers = {
        "Location": f"http://127.0.0.1:{other.server_port}/bucket/key",
        "x-amz-bucket-region": "eu-elsewhere-1",
    }
    server.body = (
        b"<Error><Code>PermanentRedirect</Code><Message>there</Message>"
        + f"<Endpoint>127.0.0.1:{other.server_port}</Endpoint></Error>".encode()
    )
    store = operators(at(server))
    for call in (store.head, store.list_uploads, lambda: store.abort("u")):
        with pytest.raises(S3Error):
            call()
    with pytest.raises(Failure):
        ask_as_worker(at(server))
    assert other.asked == []
    assert server.asked


@pytest.mark.parametrize("status", [200, 206, 400, 403, 404, 409, 412, 500, 503])
@pytest.mark.parametrize(
    "body",
    [
        "{}",
        "<html><body>{}</body></html>",
        "<Secret><Code>AccessDenied</Code><Message>{}</Message></Secret>",
        "<Error><Code>{} </Code><Message>{}</Message><Key>{}</Key></Error>",
        "<Error><Code>AccessDenied</Code><AWSAccessKeyId>{}</AWSAccessKeyId></Error>",
        "<Error><Message>{}</Message></Error>",
        '{{"Code": "AccessDenied", "Message": "{}"}}',
    ],
)
def test_what_answers_is_not_repeated_unless_it_is_an_error_of_s3(
    server: Server, status: int, body: str
) -> None:
    """Who may create a copy, and read its status, must not read by it what is no store."""
    server.status, server.body = status, body.replace("{}", f"{HIDDEN} of us").encode()
    store = operators(at(server))
    calls = (
        store.head,
        store.list_uploads,
        lambda: store.list_parts("u"),
        lambda: store.create_upload(Wanted(), "stamp", checksum=False),
        lambda: store.complete(
            "u", [], size=1, crc64nvme=None, precondition=control.Precondition()
        ),
        lambda: store.abort("u"),
    )
    told = []
    for call in calls:
        # Of an answer without what S3 promises: a defect for the log, and no word in the status.
        with contextlib.suppress(KeyError):
            told.append(said(call))
    told.append(said(lambda: ask_as_worker(at(server))))
    assert told
    assert not [words for words in told if HIDDEN in words]


def said(call: Callable[[], object]) -> str:
    try:
        call()
    except (S3Error, Failure) as error:
        return str(error)
    return ""


def test_what_a_store_says_is_in_bounds(server: Server) -> None:
    server.status = 400
    server.body = f"<Error><Code>Odd</Code><Message>{'m' * 5000}\n</Message></Error>".encode()
    with pytest.raises(S3Error) as caught:
        operators(at(server)).list_uploads()
    assert (caught.value.code, caught.value.message) == ("Odd", "m" * 200)
