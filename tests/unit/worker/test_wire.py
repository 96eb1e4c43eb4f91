"""TLS in memory, against Python's own sockets at the other end."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from dev.servers import certificate
from multipartcopy.worker.wire import Socket, TlsSocket

Peer = Callable[[ssl.SSLSocket], None]
LIMIT = 10.0
DATA = bytes(range(256)) * 4096


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("ca"))


@contextmanager
def connected(ca: Path, peer: Peer, host: str = "127.0.0.1") -> Iterator[TlsSocket]:
    """Our end, secured, while ``peer`` does something with the other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca, ca.with_name("private.key"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT)

        def serve() -> None:
            accepted, _ = listener.accept()
            accepted.settimeout(LIMIT)
            try:
                with context.wrap_socket(accepted, server_side=True) as secured:
                    peer(secured)
            except OSError:
                accepted.close()  # what our end makes of it is what is tested

        thread = threading.Thread(target=serve)
        thread.start()
        with TlsSocket(socket.AF_INET, socket.SOCK_STREAM) as ours:
            ours.open(listener.getsockname(), LIMIT, LIMIT)
            ours.expect(LIMIT, within=LIMIT)
            try:
                ours.secure(ssl.create_default_context(cafile=str(ca)), host)
                yield ours
            finally:
                ours.close()
                thread.join(LIMIT)


def read(ours: Socket, count: int) -> bytes:
    """So many bytes, or fewer at the end."""
    data, buffer = bytearray(), memoryview(bytearray(count))
    while len(data) < count and (received := ours.recv_into(buffer[: count - len(data)])):
        data += buffer[:received]
    return bytes(data)


def send_and_wait(theirs: ssl.SSLSocket) -> None:
    theirs.sendall(DATA)
    theirs.recv(1)


def test_much_is_received(ca: Path) -> None:
    with connected(ca, send_and_wait) as ours:
        assert read(ours, len(DATA)) == DATA


def test_much_is_sent(ca: Path) -> None:
    found: list[bytes] = []

    def take(theirs: ssl.SSLSocket) -> None:
        file = theirs.makefile("rb")
        found.append(file.read(len(DATA)))
        theirs.sendall(b"!")

    with connected(ca, take) as ours:
        ours.sendall(DATA)
        assert read(ours, 1) == b"!"
    assert found == [DATA]


def test_several_records_at_once(ca: Path) -> None:
    """They have all come before they are read: then the kernel is asked once."""
    with connected(ca, send_and_wait) as ours:
        size = len(DATA) // 8  # fits into the buffers
        first = read(ours, 1)
        wire = bytearray(size)
        while socket.socket.recv_into(ours, wire, 0, socket.MSG_PEEK) < size - 65536:
            pass
        buffer = memoryview(bytearray(size // 2))
        assert ours.recv_into(buffer) > 16384
        assert first + bytes(buffer[:16384]) == DATA[:16385]


@contextmanager
def plain(peer: Callable[[socket.socket], None]) -> Iterator[Socket]:
    """Our end, while ``peer`` does something with the other and closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT)

        def serve() -> None:
            accepted, _ = listener.accept()
            with accepted:
                peer(accepted)

        thread = threading.Thread(target=serve)
        thread.start()
        with Socket(socket.AF_INET, socket.SOCK_STREAM) as ours:
            ours.open(listener.getsockname(), LIMIT, LIMIT)
            ours.expect(LIMIT, within=LIMIT)
            yield ours
        thread.join(LIMIT)


def test_a_large_buffer_is_filled_by_one_call() -> None:
    """However the bytes come; a small one is not waited for, since there may be no more."""

    def in_pieces(theirs: socket.socket) -> None:
        for start in range(0, len(DATA), 1000):
            theirs.sendall(DATA[start : start + 1000])
        theirs.sendall(b"!")

    with plain(in_pieces) as ours:
        buffer = bytearray(len(DATA))
        assert ours.recv_into(buffer) == len(DATA)
        assert buffer == DATA
        assert ours.recv_into(bytearray(8192)) == 1
        assert ours.recv_into(buffer) == 0


def test_what_came_before_the_end_is_not_lost() -> None:
    with plain(lambda theirs: theirs.sendall(DATA[:100_000])) as ours:
        buffer = bytearray(len(DATA))
        assert ours.recv_into(buffer) == 100_000
        assert ours.recv_into(buffer) == 0


def test_keys_that_come_unasked_are_not_the_end(ca: Path) -> None:
    """A TLS 1.3 server sends session tickets after the handshake."""

    def reply(theirs: ssl.SSLSocket) -> None:
        theirs.recv(1)
        theirs.sendall(b"!")
        theirs.recv(1)

    with connected(ca, reply) as ours:
        assert not ours.stale()
        ours.sendall(b"?")
        assert read(ours, 1) == b"!"
        assert not ours.stale()


@pytest.mark.parametrize("politely", [True, False], ids=["close_notify", "a mere FIN"])
def test_a_closed_connection_is_stale(ca: Path, politely: bool) -> None:
    def leave(theirs: ssl.SSLSocket) -> None:
        theirs.sendall(b"!")
        if politely:
            theirs.unwrap()  # waits for our own

    with connected(ca, leave) as ours:
        assert read(ours, 1) == b"!"
        end = time.monotonic() + LIMIT
        while not ours.stale():
            assert time.monotonic() < end
        assert read(ours, 1) == b""


def test_an_end_that_has_come_whole_is_seen_at_once(ca: Path) -> None:
    """A store that closes what is idle says so in TLS and in TCP, both long before anybody looks."""
    gone = threading.Event()

    def leave(theirs: ssl.SSLSocket) -> None:
        theirs.sendall(b"!")
        theirs.settimeout(0.01)
        with suppress(OSError):
            theirs.unwrap()  # says it, and does not wait for our own
        theirs.shutdown(socket.SHUT_WR)
        gone.set()

    with connected(ca, leave) as ours:
        assert read(ours, 1) == b"!"
        assert gone.wait(LIMIT)
        looks = iter(range(5))
        fill = ours._fill

        def counted(least: int = 0) -> int:
            next(looks)  # StopIteration where it looks for ever
            return fill(least)

        ours._fill = counted  # type: ignore[method-assign]
        while not ours.readable():
            pass
        assert ours.stale()


def test_a_step_is_for_all_that_is_sent_over_tls(ca: Path) -> None:
    """However many pieces it is sent in."""
    sent: list[float] = []

    def take(theirs: ssl.SSLSocket) -> None:
        theirs.recv(1)

    with connected(ca, take) as ours:
        send = Socket._send_until

        def noted(self: Socket, data: memoryview, deadline: float) -> None:
            sent.append(deadline)

        Socket._send_until = noted  # type: ignore[method-assign]
        try:
            ours.sendall(DATA)
        finally:
            Socket._send_until = send  # type: ignore[method-assign]
    assert len(sent) > 1
    assert len(set(sent)) == 1


def test_words_out_of_turn_are_stale(ca: Path) -> None:
    with connected(ca, send_and_wait) as ours:
        read(ours, 10)
        assert ours.stale()


def test_half_a_record_is_the_end(ca: Path) -> None:
    def cut(theirs: ssl.SSLSocket) -> None:
        theirs.sendall(b"x" * 1000)
        raw = socket.socket(fileno=theirs.detach())
        raw.sendall(b"\x17\x03\x03\x40\x00 the rest never comes")
        raw.close()

    with connected(ca, cut) as ours:
        assert read(ours, 2000) == b"x" * 1000


def test_a_certificate_of_another_host(ca: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError), connected(ca, send_and_wait, "other.test"):
        pass


def test_an_unknown_authority(ca: Path, tmp_path: Path) -> None:
    alerts: list[str] = []
    stranger = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca, ca.with_name("private.key"))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            accepted, _ = listener.accept()
            accepted.settimeout(LIMIT)
            with accepted, pytest.raises(ssl.SSLError) as caught:
                context.wrap_socket(accepted, server_side=True).recv(1)
            alerts.append(caught.value.reason)

        thread = threading.Thread(target=serve)
        thread.start()
        with TlsSocket(socket.AF_INET, socket.SOCK_STREAM) as ours:
            ours.open(listener.getsockname(), LIMIT, LIMIT)
            with pytest.raises(ssl.SSLCertVerificationError):
                ours.secure(ssl.create_default_context(cafile=str(stranger)), "127.0.0.1")
        thread.join(LIMIT)
    assert alerts == ["TLSV1_ALERT_UNKNOWN_CA"]


def test_a_handshake_that_never_comes() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        TlsSocket(socket.AF_INET, socket.SOCK_STREAM) as ours,
    ):
        ours.open(listener.getsockname(), LIMIT, LIMIT)
        ours.expect(0.05, within=0.05)
        with pytest.raises(TimeoutError):
            ours.secure(ssl.create_default_context(), "127.0.0.1")


def test_plain_until_it_is_secured() -> None:
    """A proxy is spoken to in plain text first."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        TlsSocket(socket.AF_INET, socket.SOCK_STREAM) as ours,
    ):
        ours.open(listener.getsockname(), LIMIT, LIMIT)
        theirs, _ = listener.accept()
        with theirs:
            ours.sendall(b"CONNECT")
            assert theirs.recv(7, socket.MSG_WAITALL) == b"CONNECT"
            theirs.sendall(b"200")
            assert read(ours, 3) == b"200"
            theirs.close()
            assert ours.recv_into(bytearray(1)) == 0
            assert ours.stale()
