"""A source and a destination that do as they are told, on one loopback port."""

import io
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from copy import copy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SIZE = 3_000_000
BODY = bytes(range(256)) * (SIZE // 256 + 1)
Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers from ``gets`` and ``puts`` first, then what is right. One for all requests of a connection."""

    protocol_version = "HTTP/1.1"
    server: "Script"

    def do_GET(self) -> None:
        self.server.requests.append(copy(self))
        (self.server.gets.pop(0) if self.server.gets else right)(self)

    def do_PUT(self) -> None:
        self.server.requests.append(copy(self))
        (self.server.puts.pop(0) if self.server.puts else stored)(self)

    def read_body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.close_connection = True
        self.wfile = io.BytesIO()  # type: ignore[assignment]

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Script(ThreadingHTTPServer):
    """``over`` is set at the end of a test: what an answer that never ends waits for."""

    daemon_threads = True

    def __init__(self, ca: Path | None = None) -> None:
        """``ca``: a certificate to speak TLS with, its key beside it."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.ca = ca
        # A client that is not read from soon has nowhere to put its bytes.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        if ca:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(ca, ca.with_name("private.key"))
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.over = threading.Event()
        self.requests: list[Handler] = []
        self.gets: list[Answer] = []
        self.puts: list[Answer] = []
        self.bodies: list[bytes] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what these tests are about."""


def right_range(
    status: int = 206, body: bytes = BODY[1_000_000:2_500_000], **changed: str
) -> Answer:
    headers = {
        "ETag": '"pinned"',
        "Content-Range": f"bytes 1000000-2499999/{SIZE}",
        "Content-Length": "1500000",
    } | {name.replace("_", "-"): value for name, value in changed.items()}

    def answer(handler: Handler) -> None:
        handler.answer(status, headers, body)
        if len(body) != int(headers["Content-Length"]):
            handler.close_connection = True

    return answer


def right(handler: Handler) -> None:
    """Any range of the object, of either side; of the upload, that it has no parts."""
    found = re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers.get("Range", ""))
    if not found:
        handler.answer(200, {}, b"<ListPartsResult></ListPartsResult>")
        return
    first, last = int(found[1]), int(found[2])
    headers = {"ETag": '"pinned"', "Content-Range": f"bytes {first}-{last}/{SIZE}"}
    handler.answer(206, headers, BODY[first : last + 1])


def error(status: int, code: str, **headers: str) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>In words.</Message></Error>".encode()
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.answer(status, fields, body)


def stored(handler: Handler) -> None:
    """With the checksum of the trailer, where there was one."""
    body = handler.read_body()
    handler.server.bodies.append(body)
    trailer = re.search(rb"\r\n(x-amz-checksum-crc64nvme):(\S+)\r\n\r\n$", body)
    echo = {trailer[1].decode(): trailer[2].decode()} if trailer else {}
    handler.answer(200, {"ETag": '"stored"'} | echo)


def stored_as(body: bytes = b"", **headers: str) -> Answer:
    def answer(handler: Handler) -> None:
        handler.server.bodies.append(handler.read_body())
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.answer(200, fields, body)

    return answer


def listed(number: int, size: int, crc: str | None) -> Answer:
    """A page of ListParts; ``crc`` as S3 writes it."""
    checksum = f"<ChecksumCRC64NVME>{crc}</ChecksumCRC64NVME>" if crc else ""
    part = f"<PartNumber>{number}</PartNumber><Size>{size}</Size><ETag>stored</ETag>{checksum}"
    body = f"<ListPartsResult><Part>{part}</Part></ListPartsResult>".encode()
    return lambda handler: handler.answer(200, {}, body)


def refused_early(handler: Handler) -> None:
    """As a store does that looks at the head of a request only, answers and hangs up."""
    error(403, "AccessDenied")(handler)
    handler.close_connection = True


def reset_in_the_middle(handler: Handler) -> None:
    right_range(body=BODY[1_000_000:1_700_000])(handler)
    handler.wfile.flush()
    handler.reset()


def trickling(handler: Handler) -> None:
    """The right head, then a byte now and then."""
    right_range(body=b"")(handler)
    while not handler.server.over.wait(0.02):
        handler.wfile.write(b"x")


def sipping(handler: Handler) -> None:
    """Takes some bytes now and then."""
    while not handler.server.over.wait(0.02):
        handler.rfile.read1(1000)


def deaf(answer: Answer) -> Answer:
    """Answers at once, and reads no further, but does not hang up either."""

    def act(handler: Handler) -> None:
        answer(handler)
        handler.server.over.wait(60)
        handler.close_connection = True

    return act


def pondering(seconds: float) -> Answer:
    """Takes the whole part, and is silent for so long."""

    def answer(handler: Handler) -> None:
        body = handler.read_body()
        handler.server.bodies.append(body)
        handler.server.over.wait(seconds)
        handler.answer(200, {"ETag": '"stored"'})

    return answer
