"""Sockets that do not wait for ever, and TLS in large pieces.

``ssl.SSLSocket`` asks the kernel twice for each record of 16 KiB that it reads, and once for each that
it writes. Here TLS is spoken in memory, and the kernel is asked for as much as there is.
"""

import math
import select
import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import Any

BUFFER = 512 << 10
"""Bytes of the kernel's buffer each way. It charges them to the pod; left to itself it takes many MiB."""
_PROBE_SECONDS = 60
_PIECE = 256 << 10
"""Bytes of TLS that are received at once."""

_turn = threading.Lock()
"""Whose turn it is to encrypt or decrypt. OpenSSL lets go of the interpreter for each record, and to get it
back from another stream takes longer than the record.
"""


class Socket(socket.socket):
    """Reads no more after a deadline, however little each read brings."""

    _within = math.inf
    _deadline = math.inf
    _received = 0

    def open(self, address: Any, timeout: float) -> None:
        """Connect, with the buffers sized before the window is agreed on."""
        self.settimeout(timeout)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A store that hashes is silent for longer than a NAT remembers.
        self.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_SECONDS)
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_SECONDS)
        self.connect(address)

    def expect(self, timeout: float, *, within: float) -> None:
        """Whatever is read until the next call must come ``within`` so many seconds."""
        self.settimeout(timeout)
        self._within, self._received = within, 0
        self._deadline = time.monotonic() + within

    def recv_into(self, *arguments: Any) -> int:
        if time.monotonic() > self._deadline:
            raise TimeoutError(f"only {self._received} bytes came in {self._within:g} s")
        received = super().recv_into(*arguments)
        self._received += received
        return received

    def readable(self) -> bool:
        """Whether a read would not block."""
        return bool(select.select([self], [], [], 0)[0])

    def stale(self) -> bool:
        """Whether there is something to read between two requests: most likely the end."""
        return self.readable()

    def hang_up(self) -> None:
        """Nothing blocks any more; what has come already can still be read."""
        with suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)


class TlsSocket(Socket):
    """Plain until :meth:`secure`."""

    _tls: ssl.SSLObject | None = None

    def secure(self, context: ssl.SSLContext, host: str) -> None:
        """Do the handshake. Raises OSError, ssl.SSLCertVerificationError among them."""
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._piece = memoryview(bytearray(_PIECE))
        tls = context.wrap_bio(self._in, self._out, server_hostname=host)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            except ssl.SSLError:
                self._flush()  # the alert that tells the peer why
                raise
        self._flush()
        self._tls = tls

    def recv_into(self, *arguments: Any) -> int:
        if self._tls is None:
            return super().recv_into(*arguments)
        buffer = memoryview(arguments[0])
        while True:
            received = self._decrypt(buffer)
            if received is not None:
                return received
            self._fill()

    def _decrypt(self, buffer: memoryview) -> int | None:
        """As many bytes as have come; 0 at the end, None where more of a record must come first."""
        assert self._tls
        got = 0
        with _turn:
            try:
                while got < len(buffer):
                    count: Any = self._tls.read(len(buffer) - got, buffer[got:])  # a record at most
                    got += count
                    if not count:
                        break
            except ssl.SSLWantReadError:
                return got or None
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                pass  # http.client knows how much was to come
        return got

    def _fill(self) -> None:
        received = super().recv_into(self._piece)
        if received:
            self._in.write(self._piece[:received])
        else:
            self._in.write_eof()

    def sendall(self, data: Any, flags: int = 0) -> None:
        if self._tls:
            with _turn:
                self._tls.write(data)
                data = self._out.read()
        super().sendall(data, flags)

    def _flush(self) -> None:
        if self._out.pending:
            super().sendall(self._out.read())

    def stale(self) -> bool:
        """What comes between two requests may be the peer's new keys, too, which are taken in."""
        if self._tls is None:
            return super().stale()
        try:
            while self.readable():
                self._fill()
                if self._in.eof:
                    return True
            self._tls.read(1)
        except ssl.SSLWantReadError:
            return False
        except OSError:
            pass
        return True
