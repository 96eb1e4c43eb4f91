"""Sockets that do not wait for ever, whole buffers at a call, and TLS in large pieces.

The kernel keeps the time, so that a call is one call: with a time-out of Python's each is two, and a buffer
takes as many of them as there are segments. ``ssl.SSLSocket`` asks the kernel twice for each record of 16 KiB that it
reads, and once for each that it writes. Here TLS is spoken in memory, and the kernel is asked for as much as there is.
"""

import math
import select
import socket
import ssl
import struct
import threading
import time
from contextlib import suppress
from typing import Any

RECEIVE_BUFFER, SEND_BUFFER = 1 << 20, 512 << 10
"""Bytes of the kernel's buffers. It takes up to twice as many, and charges them to the pod; left to itself it takes
many MiB. Each time that one runs empty or full, a thread has to be woken.
"""
_PROBE_SECONDS = 60
_STALL = 60.0
"""Seconds in which a peer must take something of what it is sent."""
_PIECE = 256 << 10
"""Bytes that TLS is received, and made, in."""
_SMALL = 128 << 10
"""Bytes; a larger buffer is for a body, of which all is wanted, and nobody reads ahead into one."""
_RECORD = 17 << 10
"""Bytes of TLS that OpenSSL may hold of a record that has not come whole (RFC 8446, 5.2)."""

_turn = threading.Lock()
"""Whose turn it is to encrypt or decrypt. OpenSSL lets go of the interpreter for each record, and to get it
back from another stream takes longer than the record.
"""


class Socket(socket.socket):
    """Reads no more after a deadline, however little each read brings."""

    _silence = 0.0
    _within = math.inf
    _deadline = math.inf
    _received = 0

    def open(self, address: Any, timeout: float, step: float) -> None:
        """Connect, with the buffers sized before the window is agreed on.

        ``step`` is how many seconds each :meth:`sendall` may take, and the first reading.
        """
        self.settimeout(timeout)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A store that hashes is silent for longer than a NAT remembers.
        self.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_SECONDS)
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_SECONDS)
        self.connect(address)
        self.settimeout(None)
        self._step = step
        self._let_kernel_time(socket.SO_SNDTIMEO, min(step, _STALL))
        self.expect(step, within=step)

    def expect(self, silence: float, *, within: float) -> None:
        """Whatever is read until the next call must come ``within`` so many seconds.

        Less than twice ``silence`` goes by until nothing at all is noticed.
        """
        silence = min(silence, within)
        if silence != self._silence:
            self._let_kernel_time(socket.SO_RCVTIMEO, silence)
            self._silence = silence
        self._within, self._received = within, 0
        self._deadline = time.monotonic() + within

    def _let_kernel_time(self, option: int, seconds: float) -> None:
        """For each call, from its start to its end: man 7 socket."""
        whole = int(seconds)
        self.setsockopt(
            socket.SOL_SOCKET, option, struct.pack("ll", whole, int((seconds - whole) * 1e6))
        )

    def recv_into(self, *arguments: Any) -> int:
        """A large buffer is filled, but for the end and a deadline."""
        buffer = memoryview(arguments[0])
        return self._receive(buffer, len(buffer) if len(buffer) > _SMALL else 0)

    def _receive(self, buffer: memoryview, least: int) -> int:
        """Into ``buffer`` ``least`` bytes, or up to the end; what has come where that is 0."""
        if time.monotonic() > self._deadline:
            raise TimeoutError(f"only {self._received} bytes came in {self._within:g} s")
        try:
            received = super().recv_into(buffer, least, socket.MSG_WAITALL if least else 0)
        except BlockingIOError:
            raise TimeoutError(f"nothing came in {self._silence:g} s") from None
        self._received += received
        return received

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Within the time for a step, unless nothing at all is taken for long."""
        self._send_until(memoryview(data), time.monotonic() + self._step)

    def _send_until(self, data: memoryview, deadline: float) -> None:
        rest = data
        try:
            # Most often the kernel takes all of it at once.
            while len(rest) > (sent := super().send(rest)):
                rest = rest[sent:]
                if time.monotonic() > deadline:
                    message = f"less than {len(data)} bytes were taken in {self._step:g} s"
                    raise TimeoutError(message)
        except BlockingIOError:
            raise TimeoutError(f"nothing was taken in {min(self._step, _STALL):g} s") from None

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
            # What a large buffer lacks takes at least as many bytes of TLS, but for what OpenSSL has of them.
            self._fill(max(0, len(buffer) - _RECORD) if len(buffer) > _SMALL else 0)

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

    def _fill(self, least: int = 0) -> int:
        """Bytes of TLS that have come; 0 at the end."""
        received = self._receive(self._piece, min(least, _PIECE))
        if received:
            self._in.write(self._piece[:received])
        else:
            self._in.write_eof()
        return received

    def sendall(self, data: Any, flags: int = 0) -> None:
        if self._tls is None:
            super().sendall(data, flags)
            return
        data, deadline = memoryview(data), time.monotonic() + self._step
        for start in range(0, len(data), _PIECE):
            with _turn:
                self._tls.write(data[start : start + _PIECE])
                piece = self._out.read()
            self._send_until(memoryview(piece), deadline)

    def _flush(self) -> None:
        if self._out.pending:
            super().sendall(self._out.read())

    def stale(self) -> bool:
        """What comes between two requests may be the peer's new keys, too, which are taken in."""
        if self._tls is None:
            return super().stale()
        try:
            while self.readable():
                if not self._fill():
                    return True
            self._tls.read(1)
        except ssl.SSLWantReadError:
            return False
        except OSError:
            pass
        return True
