"""What a store can take of the operator by its answers: neither its memory, nor its threads, nor its disk."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Event, Thread

import pytest

from dev.servers import LOOPBACK
from multipartcopy.api.location import HttpLocation, Reference, S3Location
from multipartcopy.api.reasons import Reason
from multipartcopy.s3 import control, web
from multipartcopy.s3.control import Access, Precondition, Store
from multipartcopy.s3.errors import Kind, S3Error
from multipartcopy.s3.guard import parse_guard
from multipartcopy.s3.properties import Wanted
from multipartcopy.s3.secrets import MissingSecretError, access
from multipartcopy.s3.web import Site
from tests.unit.worker.conftest import script, tls_script
from tests.unit.worker.scripted import Script

__all__ = ["script", "tls_script"]

HEAD = b"HTTP/1.1 200 OK\r\nDate: Fri, 02 Jan 2026 03:04:05 GMT\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSED = b"Connection: close\r\n\r\n"
MiB = 1 << 20
BLANKS = b"%x\r\n" % MiB + b" " * MiB + b"\r\n"


class Server(ThreadingTCPServer):
    """Answers with what ``answer`` yields, and hangs up; an empty one is a pause."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, answer: Callable[[bytes], Iterator[bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.asked, self.sent, self.over = answer, 0, 0, Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        lines = []
        while (line := self.rfile.readline()) not in (b"", b"\r\n"):
            lines.append(line)
        if not lines:
            return
        for line in lines:
            if line.lower().startswith(b"content-length:"):
                self.rfile.read(int(line.partition(b":")[2]))
        self.server.asked += 1
        with suppress(OSError):
            for piece in self.server.answer(lines[0]):
                if not piece and self.server.over.wait(0.02):
                    return
                self.wfile.write(piece)
                self.server.sent += len(piece)


@contextmanager
def serving(answer: Callable[[bytes], Iterator[bytes]]) -> Iterator[Server]:
    with Server(answer) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


def a_store(server: Server, *, guarded: bool = False) -> Store:
    location = S3Location("b", "k", server.url)
    return Store(
        "destination", location, Access(), None, parse_guard(LOOPBACK) if guarded else None
    )


def complete(store: Store) -> object:
    return store.complete("u", [], size=1, crc64nvme=None, precondition=Precondition())


def flood(_: bytes) -> Iterator[bytes]:
    yield HEAD + CHUNKED
    yield from (BLANKS for _ in range(200))


def flooding_refusal(_: bytes) -> Iterator[bytes]:
    yield b"HTTP/1.1 404 Not Found\r\n" + UNTIL_CLOSED
    yield from (BLANKS for _ in range(200))


def flood_of_heads(_: bytes) -> Iterator[bytes]:
    yield from (b"HTTP/1.1 100 Continue\r\n\r\n" * 40_000 for _ in range(200))


@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize("answer", [flood, flooding_refusal, flood_of_heads])
def test_an_answer_without_end_is_not_read_to_it(answer, guarded: bool) -> None:
    with serving(answer) as server:
        with pytest.raises(S3Error, match="the answer is too long") as caught:
            a_store(server, guarded=guarded).list_uploads()
        assert caught.value.kind is Kind.RETRY
        assert server.asked == 1  # And not repeated.
        assert server.sent < 16 * MiB


def test_nor_is_that_which_says_why() -> None:
    """The GET after a HEAD that was refused."""

    def answer(line: bytes) -> Iterator[bytes]:
        if line.startswith(b"HEAD"):
            return iter([b"HTTP/1.1 403 Forbidden\r\n" + UNTIL_CLOSED])
        return flooding_refusal(line)

    with serving(answer) as server:
        with pytest.raises(S3Error, match="the answer is too long"):
            a_store(server).head()
        assert server.sent < 16 * MiB


MARKUP = {
    "elements": b"<r>" + b"<a/>" * 700_000 + b"</r>",
    "attributes": b"<r " + b" ".join(b'a%x=""' % i for i in range(300_000)) + b"/>",
    "entities": b'<!DOCTYPE r [<!ENTITY a "%s">]><r>%s</r>' % (b"x" * MiB, b"&a;" * 90),
}


def memory() -> int:
    """The peak, in bytes, of a process that has read all that is in MARKUP, less that of one that has not.

    Not by getrusage, which tells the peak of the parent where that was higher.
    """
    script = f"""
import re, sys
from pathlib import Path
sys.path[:0] = {sys.path!r}
from tests.unit.test_bounds import MARKUP, memory_of
for body in [b"<r/>", *MARKUP.values()]:
    memory_of(body)
    print(re.search("VmHWM:\\\\s+([0-9]+) kB", Path("/proc/self/status").read_text())[1])
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    first, *_, last = map(int, done.stdout.split())
    return (last - first) << 10


def memory_of(body: bytes) -> None:
    def answer(_: bytes) -> Iterator[bytes]:
        return iter([HEAD + UNTIL_CLOSED, body])

    with serving(answer) as server, suppress(S3Error):
        a_store(server).list_uploads()


def test_what_is_short_does_not_become_long_by_being_read() -> None:
    """A tree takes many times what its XML does."""
    assert memory() < 32 * MiB


def test_a_page_of_the_longest_keys_is_no_answer_without_end() -> None:
    entry = "<Upload><Key>{}</Key><UploadId>{}</UploadId><Initiated>2026-01-02T03:04:05.000Z</Initiated>"
    owner = "<Owner><ID>{0}</ID><DisplayName>{0}</DisplayName></Owner>".format("a" * 64)
    owner += owner.replace("Owner", "Initiator")
    entry = entry.format("k" + "a=" * 511, "u" * 300) + owner
    entry += (
        "<StorageClass>STANDARD</StorageClass><ChecksumType>FULL_OBJECT</ChecksumType></Upload>"
    )
    body = f"<ListMultipartUploadsResult>{entry * 1000}</ListMultipartUploadsResult>".encode()

    def answer(_: bytes) -> Iterator[bytes]:
        return iter([HEAD + UNTIL_CLOSED, body])

    with serving(answer) as server:
        uploads, _ = a_store(server).list_uploads_under()
    assert len(uploads) == 1000


def test_all_parts_at_once_are_no_answer_without_end() -> None:
    """MinIO's own page, of the largest upload that there can be."""
    entry = (
        "<Part><PartNumber>{0}</PartNumber><LastModified>2026-01-02T03:04:05.678Z</LastModified>"
        "<ETag>&#34;0123456789abcdef0123456789abcdef&#34;</ETag><Size>5368709120</Size>"
        "<ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME></Part>"
    )
    parts = "".join(entry.format(number) for number in range(1, 10_001))
    body = f"<ListPartsResult><IsTruncated>false</IsTruncated>{parts}</ListPartsResult>".encode()

    def answer(_: bytes) -> Iterator[bytes]:
        return iter([HEAD + UNTIL_CLOSED, body])

    with serving(answer) as server:
        listed, _ = a_store(server).list_parts("u")
    assert [part.number for part in listed] == list(range(1, 10_001))


def listing(entry: str, more: str) -> Callable[[bytes], Iterator[bytes]]:
    """A thousand of them a page, and always another page."""
    body = f"<R><IsTruncated>true</IsTruncated>{more}{entry * 1000}</R>".encode()
    return lambda _: iter([HEAD + UNTIL_CLOSED, body])


UPLOAD = "<Upload><Key>k</Key><UploadId>{}</UploadId><Initiated>2026-01-02T03:04:05Z</Initiated></Upload>"
NEXT_UPLOAD = "<NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>u</NextUploadIdMarker>"
PART = "<Part><PartNumber>1</PartNumber><Size>1</Size><ETag>{}</ETag></Part>"
NEXT_PART = "<NextPartNumberMarker>1</NextPartNumberMarker>"


@pytest.mark.parametrize(
    ("entry", "more", "pages"),
    [
        (UPLOAD.format("u"), NEXT_UPLOAD, 11),
        (UPLOAD.format("u" * 1100), NEXT_UPLOAD, 1),
        (PART.format("e"), NEXT_PART, 11),
        (PART.format("e" * 1100), NEXT_PART, 1),
    ],
    ids=["uploads", "ids", "parts", "etags"],
)
def test_a_list_without_end_is_no_list(entry: str, more: str, pages: int) -> None:
    """Half of one would be taken for the whole: an upload of a stranger for ours, ours for lost."""
    with serving(listing(entry, more)) as server:
        store = a_store(server)
        with pytest.raises(S3Error, match="lists without end") as caught:
            store.list_uploads() if more is NEXT_UPLOAD else store.list_parts("u")
        assert caught.value.kind is Kind.RETRY
        assert server.asked == pages


def test_a_list_takes_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_LISTING_SECONDS", 0.2)

    def answer(line: bytes) -> Iterator[bytes]:
        yield from [b""] * 5
        yield from listing("", NEXT_UPLOAD)(line)

    with serving(answer) as server:
        with pytest.raises(S3Error, match="lists without end"):
            a_store(server).list_uploads()
        assert server.asked < 5


def trickle(_: bytes) -> Iterator[bytes]:
    yield HEAD + UNTIL_CLOSED
    while True:
        yield b" "
        yield b""


def trickling_head(_: bytes) -> Iterator[bytes]:
    yield HEAD + b"X-Long: "
    while True:
        yield b"x"
        yield b""


def trickling_status(_: bytes) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 "
    while True:
        yield b"x"
        yield b""


def silence(_: bytes) -> Iterator[bytes]:
    while True:
        yield b""


SLOW = [trickle, trickling_head, trickling_status, silence]


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (
        (control, "_CALM_SECONDS"),
        (control, "_ONCE_SECONDS"),
        (web, "_SECONDS"),
    ):
        monkeypatch.setattr(module, name, 0.2)


@pytest.mark.parametrize("answer", SLOW)
@pytest.mark.parametrize(
    "ask",
    [
        Store.list_uploads,
        complete,
        lambda store: store.create_upload(Wanted(), "stamp", checksum=False),
        lambda store: store.put_empty(Wanted(), "stamp", Precondition()),
    ],
    ids=["list", "complete", "create", "put"],
)
@pytest.mark.usefixtures("hurry")
def test_an_answer_comes_in_time_as_a_whole(answer, ask) -> None:
    """Each byte within the timeout is not enough. Of a completion it is unknown then how it ended."""
    with serving(answer) as server:
        began = time.monotonic()
        with pytest.raises(S3Error, match="the answer takes too long") as caught:
            ask(a_store(server, guarded=answer is trickle))
        assert time.monotonic() - began < 2
        assert caught.value.kind is Kind.RETRY
        assert server.asked == 1


@pytest.mark.parametrize("answer", [trickling_head, trickling_status, silence])
@pytest.mark.usefixtures("hurry")
def test_so_does_that_of_a_url(answer) -> None:
    with serving(answer) as server:
        began = time.monotonic()
        with pytest.raises(S3Error, match="the answer takes too long") as caught:
            Site(HttpLocation(f"{server.url}/k?s3cr3t"), Access()).look()
        assert time.monotonic() - began < 2
        assert caught.value.kind is Kind.RETRY


def test_the_blanks_before_a_late_answer_are_waited_for() -> None:
    def answer(_: bytes) -> Iterator[bytes]:
        yield HEAD + UNTIL_CLOSED
        for _ in range(20):
            yield b" "
            yield b""
        yield b'<CompleteMultipartUploadResult><ETag>"e"</ETag></CompleteMultipartUploadResult>'

    with serving(answer) as server:
        assert complete(a_store(server)) == "e"


def test_authorities_take_no_disk(
    tls_script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may make a Secret and a copy could fill it, and with it evict the operator."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    assert tls_script.ca
    pem = tls_script.ca.read_text()
    where = f"https://127.0.0.1:{tls_script.server_port}"
    location = S3Location("b", "k", where)
    stores = [
        Store("source", location, Access(ca=f"# Autoridad n.\u00ba {n}\n{pem}")) for n in range(100)
    ]
    for n in (99, 0):  # The first one's client has long left the cache.
        assert stores[n].list_parts("u") == ([], False)
    range_of = {"Content-Range": "bytes 0-0/9", "Content-Length": "1"}
    tls_script.gets = [lambda handler: handler.answer(206, range_of, b"x")]
    assert Site(HttpLocation(f"{where}/f"), Access(ca=f"# \u00e9\n{pem}")).look().size == 9
    assert not list(place.iterdir())


def test_authorities_are_believed_alone(tls_script: Script) -> None:
    where = S3Location("b", "k", f"https://127.0.0.1:{tls_script.server_port}")
    for ca in (None, "no certificate"):
        with pytest.raises(S3Error) as caught:
            Store("source", where, Access(ca=ca)).list_parts("u")
        assert caught.value.kind is Kind.RETRY


@pytest.mark.parametrize(("size", "good"), [(256 << 10, True), ((256 << 10) + 1, False)])
def test_authorities_are_as_large_as_all_public_ones_at_most(size: int, good: bool) -> None:
    location = S3Location("b", "k", ca_secret_ref=Reference("c"))
    secret = {"ca.crt": "c" * size}
    if good:
        assert access(lambda *_: secret, "ns", location).ca
        return
    with pytest.raises(
        MissingSecretError, match=r"Secret c: ca\.crt is larger than 256 KiB$"
    ) as no:
        access(lambda *_: secret, "ns", location)
    assert no.value.reason is Reason.SECRET_INVALID
