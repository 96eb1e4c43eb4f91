"""A keep-alive connection to one side: signed requests out, checked answers in.

Everything that goes wrong here is a :class:`~multipartcopy.worker.errors.Failure` of that side.
"""

import functools
import http.client
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote

from multipartcopy.api import names
from multipartcopy.api.location import S3Location
from multipartcopy.api.reasons import Reason
from multipartcopy.s3.address import Address, object_address
from multipartcopy.s3.answers import parse_error
from multipartcopy.s3.customer import read_key
from multipartcopy.s3.guard import EndpointRefusedError, Guard
from multipartcopy.worker.answers import Part, check_range
from multipartcopy.worker.errors import (
    CHANGED,
    UNAVAILABLE,
    Failure,
    Side,
    is_throttled,
    judge,
)
from multipartcopy.worker.proxies import Proxy, find_proxy
from multipartcopy.worker.signing import Credentials, read_credentials, sign
from multipartcopy.worker.wire import Socket, TlsSocket

CONNECT_TIMEOUT = 10.0
_BODY_LIMIT = 1 << 20
"""Bytes of an answer that is read whole: an error, or a page of ListParts."""
_RETRY_AFTER_LIMIT = 60


class Store:
    """The object on one side, and how to be let in."""

    def __init__(
        self, side: Side, location: S3Location, secrets: Path, guard: Guard | None = None
    ) -> None:
        """``secrets`` holds ``<side>/`` with credentials, perhaps ``<side>-ca/`` with a CA, ``<side>-key/`` for SSE-C.

        Without a ``guard``, every endpoint is spoken to. Raises ValueError for a proxy of an unknown kind and for
        what is no key, OSError where that is missing.
        """
        self.side = side
        self.version_id = location.version_id
        self.address = object_address(location)
        self.proxy = find_proxy(self.address)
        self.guard = guard
        self._region = location.region
        self._credentials = None if location.anonymous else secrets / side
        self._customer: Mapping[str, str] = {}
        if location.sse_customer_key_secret_ref:
            key = secrets / f"{side}-key" / names.CUSTOMER_KEY
            self._customer = read_key(key.read_bytes()).headers()
        self.tls = tls_context(self.address, secrets / f"{side}-ca")

    def conditions(self, etag: str) -> dict[str, str]:
        """The headers that have any other object refused."""
        return {"If-Match": f'"{etag}"'}

    def check_range(
        self, answer: http.client.HTTPResponse, part: Part, *, size: int, etag: str
    ) -> None:
        """Raises Failure unless the answer is exactly this range of the object that was pinned."""
        check_range(answer, part, side=self.side, size=size, etag=etag)

    def judge(self, status: int, code: str, *, pinned: bool) -> tuple[Reason, bool]:
        return judge(self.side, status, code, pinned=pinned)

    def signed(
        self, method: str, target: str, headers: Mapping[str, str], payload: str
    ) -> dict[str, str]:
        headers = {"Host": self.address.authority, **self._customer, **headers}
        return sign(method, target, headers, payload, self._region, self._read_credentials())

    def _read_credentials(self) -> Credentials | None:
        if self._credentials is None:
            return None
        try:
            return read_credentials(self._credentials)
        except (OSError, ValueError) as error:
            raise Failure(Reason.ACCESS_DENIED, f"{self.side}: no credentials: {error}") from error


def tls_context(address: Address, ca: Path) -> ssl.SSLContext | None:
    """For https; ``ca`` is a directory that may hold a certificate authority."""
    if address.scheme != "https":
        return None
    file = ca / names.CA_CERTIFICATE
    return _context(str(file)) if file.exists() else _public_context()


@functools.cache
def _public_context() -> ssl.SSLContext:
    """One for both sides: the system's authorities take 20 ms to read, and a MiB."""
    return _context()


def _context(ca_file: str | None = None) -> ssl.SSLContext:
    """Verifies as botocore does for the operator: a store that let the operator in must not keep its workers out.

    Since Python 3.13 a default context demands extensions of RFC 5280 that many a private authority leaves out
    (https://docs.python.org/3/library/ssl.html#ssl.create_default_context).
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.verify_flags = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).verify_flags
    return context


class Connection:
    """One request at a time; reconnects where the store has closed it, as some do every time."""

    def __init__(self, store: Store, *, silence: float, step: float) -> None:
        """Seconds: of ``silence`` before an answer or within, and for each ``step``.

        A step is one buffer of a body, sent or received, or a small answer: a peer that trickles is
        never silent.
        """
        self._store = store
        self._silence = silence
        self._step = step
        self._pinned = False
        self._http = _Http(store.address, store.tls, store.proxy, step, store.guard)

    def request(
        self,
        method: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        payload: str,
        length: int = 0,
    ) -> None:
        """Send the head of a request; ``length`` bytes of body must follow by :meth:`send`."""
        target = self._store.address.path + encode_query(query)
        signed = self._store.signed(method, target, headers, payload)
        if length:
            signed["Content-Length"] = str(length)
        if self._store.proxy and not self._store.tls:
            # RFC 9112, 3.2.2: a proxy is told the whole URL.
            target = f"http://{self._store.address.authority}{target}"
            signed |= self._store.proxy.headers
        with self._failures():
            self._http.close_if_stale()
            self._http.request(method, target, headers=signed)
            self._pinned = "If-Match" in headers

    def send(self, data: bytes | memoryview) -> None:
        """Send a piece of the body. Raises what a store says that stopped reading."""
        with self._failures():
            try:
                self._http.send(data)
            except OSError:
                self._http.wire.hang_up()
                with suppress(OSError, http.client.HTTPException):
                    self._answer()
                raise

    def answer(self) -> http.client.HTTPResponse:
        """The head of the answer; raises Failure unless it is a success."""
        with self._failures():
            return self._answer()

    def _answer(self) -> http.client.HTTPResponse:
        self._http.wire.expect(self._silence, within=self._silence + self._step)
        response = self._http.getresponse()
        if response.status < 300:
            return response
        raise self._refusal(response, *parse_error(response.read(_BODY_LIMIT)))

    def read(self, response: http.client.HTTPResponse) -> bytes:
        """The whole body of a small answer, which makes the connection ready for the next one.

        Raises Failure for an error, which stores send after a head that says 200, too.
        """
        with self._failures():
            self._http.wire.expect(self._silence, within=self._step)
            body = response.read(_BODY_LIMIT)
            if response.read(1):
                raise http.client.HTTPException("the answer is too long")
            code, message = parse_error(body)
            if code:
                raise self._refusal(response, code, message)
            return body

    def _refusal(self, response: http.client.HTTPResponse, code: str, message: str) -> Failure:
        side = self._store.side
        reason, permanent = self._store.judge(response.status, code, pinned=self._pinned)
        retry_after = parse_retry_after(response.headers.get("Retry-After", ""))
        words = (
            f"{response.status} {code or http.client.responses.get(response.status, '')}".rstrip()
        )
        words += f": {message}" if message else ""
        if reason is CHANGED[side]:
            words = f"it is no longer the object that was pinned ({words})"
        failure = Failure(
            reason,
            f"{side}: {words}",
            permanent=permanent,
            retry_after=retry_after,
            throttled=is_throttled(response.status, code, retry_after),
            side=side,
        )
        failure.status, failure.code = response.status, code
        return failure

    def read_into(self, response: http.client.HTTPResponse, buffer: memoryview) -> None:
        """Fill the buffer, or raise Failure: the body was shorter than its head said."""
        with self._failures():
            self._http.wire.expect(self._silence, within=self._step)
            read = response.readinto(buffer)
            if read < len(buffer):
                raise http.client.IncompleteRead(b"", len(buffer) - read)

    def close(self) -> None:
        self._http.close()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        side = self._store.side
        try:
            yield
        except EndpointRefusedError as error:
            raise Failure(Reason.ENDPOINT_REFUSED, f"{side}: {error}") from error
        except (OSError, http.client.HTTPException) as error:
            message = f"{side}: {type(error).__name__}: {error}"
            raise Failure(UNAVAILABLE[side], message) from error


def encode_query(parameters: Mapping[str, str]) -> str:
    """With its question mark, encoded as a signature wants it; empty for no parameters."""
    pairs = (f"{name}={quote(value, safe='-_.~')}" for name, value in parameters.items())
    return f"?{'&'.join(pairs)}" if parameters else ""


def parse_retry_after(value: str) -> float:
    """Seconds, at most a minute; 0 for what is neither seconds nor a date."""
    try:
        seconds = int(value) if value.isdecimal() else _seconds_until(value)
    except (ValueError, OverflowError):
        return 0
    return min(max(seconds, 0), _RETRY_AFTER_LIMIT)


def _seconds_until(date: str) -> float:
    return parsedate_to_datetime(date).timestamp() - time.time()


class _Http(http.client.HTTPConnection):
    """Over TLS or not, with bounded socket buffers."""

    wire: Socket
    """The last socket; ``sock`` is none once an answer has said that it is the last on it."""

    def __init__(
        self,
        address: Address,
        tls: ssl.SSLContext | None,
        proxy: Proxy | None,
        step: float,
        guard: Guard | None,
    ) -> None:
        near = proxy or address
        super().__init__(near.host.strip("[]"), near.port)
        if proxy and tls:
            self.set_tunnel(address.host, address.port, dict(proxy.headers))
        self._tunnelled = proxy is not None and tls is not None
        self._name = address.host.strip("[]")
        self._tls = tls
        self._step = step
        self._guard = guard
        self._proxied = proxy is not None

    def close_if_stale(self) -> None:
        """A connection between two requests has nothing to read, unless it was closed."""
        if self.sock and self.wire.stale():
            self.close()

    def connect(self) -> None:
        """As socket.create_connection. Raises EndpointRefusedError."""
        error: OSError | None = None
        if self._guard:
            self._guard.check_name(self._name, proxied=self._proxied)
        for family, kind, protocol, _, address in socket.getaddrinfo(
            self.host, self.port, type=socket.SOCK_STREAM
        ):
            if self._guard and not self._proxied:
                # The very address that is connected to: a name may stand for another one by now.
                self._guard.check_address(self._name, str(address[0]))
            sock = (TlsSocket if self._tls else Socket)(family, kind, protocol)
            try:
                sock.open(address, CONNECT_TIMEOUT, self._step)
                if self._tunnelled:
                    sock.expect(CONNECT_TIMEOUT, within=CONNECT_TIMEOUT)
                    self.sock = sock
                    self._tunnel()  # type: ignore[attr-defined] # as HTTPSConnection does
                if self._tls and isinstance(sock, TlsSocket):
                    sock.expect(CONNECT_TIMEOUT, within=CONNECT_TIMEOUT)
                    sock.secure(self._tls, self._name)
                self.sock = self.wire = sock
                return
            except (OSError, http.client.HTTPException) as failed:
                self.sock = None
                sock.close()
                if not isinstance(failed, OSError):
                    raise  # a proxy that is none: nothing may be sent there
                error = failed
        raise error or OSError(f"{self.host} has no address")
