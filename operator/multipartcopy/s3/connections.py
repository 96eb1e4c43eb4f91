"""The operator's connections: no byte goes to an address that a guard refuses, and no answer is without end.

botocore has no hook below a request, and a name that is looked up before it may stand for another address
when the connection is made. So the classes of connections are replaced, in each session.
"""

import io
import socket
import time
from typing import Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.compat import HTTPResponse

from multipartcopy.s3.guard import Guard

_LONGEST_ANSWER = 4 << 20
"""Bytes. A page of a list is less than 2 MiB, and all threads may be reading one within the operator's memory."""
_MARKUP = (b"<", b'"', b"'")
"""Without these there is neither an element nor an attribute."""
_MOST_MARKUP = 150_000
"""MinIO lists all 10,000 parts at once, with 120,000; asked for a thousand at a time it takes three times as long."""


class AnswerError(Exception):
    """It is not read any further: who answers is no store, or none that is well."""


def watch(session: Any, seconds: float, guard: Guard | None = None, ca: str | None = None) -> None:
    """From now on, connections of botocore's HTTP session raise AnswerError and EndpointRefusedError.

    An answer may take so many ``seconds`` as a whole. ``ca``: the authorities to trust, in place of the session's.
    """

    class Answer(HTTPResponse):
        def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__(sock, *args, **kwargs)
            self.fp = io.BufferedReader(_Bounded(self.fp.detach(), sock, seconds))

    class Watched:
        response_class = Answer

        def _new_conn(self: Any) -> socket.socket:
            """Guarded, but for those to a proxy, which whoever runs the operator has named."""
            if guard is None or self.proxy:
                return super()._new_conn()  # type: ignore[misc, no-any-return]
            host = self._dns_host
            for *_, address in _addresses(host, self.port):
                guard.check_address(host, str(address[0]))
            sock: socket.socket = super()._new_conn()  # type: ignore[misc]
            try:
                guard.check_address(host, sock.getpeername()[0])
            except BaseException:
                sock.close()
                raise
            return sock

    class Http(Watched, AWSHTTPConnection):  # type: ignore[misc]
        pass

    class Https(Watched, AWSHTTPSConnection):  # type: ignore[misc]
        def connect(self) -> None:
            """botocore takes authorities only as a file, and one for each would fill the disk."""
            if ca:
                # A comment may be in any language, and is none of OpenSSL's business.
                plain = ca.encode("ascii", "ignore").decode()
                self.ca_certs, self.ca_cert_data = None, plain
            super().connect()

    class HttpPool(AWSHTTPConnectionPool):
        ConnectionCls = Http

    class HttpsPool(AWSHTTPSConnectionPool):
        ConnectionCls = Https

    session._pool_classes_by_scheme = {"http": HttpPool, "https": HttpsPool}
    session._manager.pool_classes_by_scheme = session._pool_classes_by_scheme


def check_markup(body: bytes) -> None:
    """Raises AnswerError where the tree of this XML would be many times as large as it is."""
    if b"<!DOCTYPE" in body or sum(map(body.count, _MARKUP)) > _MOST_MARKUP:
        raise AnswerError("the answer is not S3's")


class _Bounded(io.RawIOBase):
    """What comes of one answer, its head included. A socket's own timeout is one for every single read."""

    def __init__(self, raw: io.RawIOBase, sock: Any, seconds: float) -> None:
        self._raw, self._sock = raw, sock
        self._end = time.monotonic() + seconds
        self._left = _LONGEST_ANSWER

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise AnswerError("the answer takes too long")
        self._sock.settimeout(min(seconds, self._sock.gettimeout()))
        try:
            count: int = self._raw.readinto(buffer)
        except TimeoutError:
            if time.monotonic() < self._end:
                raise
            raise AnswerError("the answer takes too long") from None
        self._left -= count
        if self._left < 0:
            raise AnswerError("the answer is too long")
        return count

    def close(self) -> None:
        super().close()
        self._raw.close()


def _addresses(host: str, port: int) -> list[Any]:
    try:
        return socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except OSError:
        return []  # To be told by the attempt to connect.
