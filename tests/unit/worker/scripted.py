"""A source and a destination that do as they are told, on one loopback port."""

import io
import re
import socket
import struct
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SIZE = 3_000_000
BODY = bytes(range(256)) * (SIZE // 256 + 1)
Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers from ``gets`` and ``puts`` first, then what is right."""

    protocol_version = "HTTP/1.1"
    server: "Script"

    def do_GET(self) -> None:
        self.server.requests.append(self)
        (self.server.gets.pop(0) if self.server.gets else right)(self)

    def do_PUT(self) -> None:
        self.server.requests.append(self)
        (self.server.puts.pop(0) if self.server.puts else stored)(self)

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
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
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
    """Any range of the object; of the upload, that it has no parts."""
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
    body = handler.rfile.read(int(handler.headers["Content-Length"]))
    handler.server.bodies.append(body)
    handler.answer(200, {"ETag": '"stored"'})


def stored_as(**headers: str) -> Answer:
    def answer(handler: Handler) -> None:
        handler.rfile.read(int(handler.headers["Content-Length"]))
        handler.answer(200, {name.replace("_", "-"): value for name, value in headers.items()})

    return answer


def refused_early(handler: Handler) -> None:
    """As a store does that looks at the head of a request only, answers and hangs up."""
    error(403, "AccessDenied")(handler)
    handler.close_connection = True


def reset_in_the_middle(handler: Handler) -> None:
    right_range(body=BODY[1_000_000:1_700_000])(handler)
    handler.wfile.flush()
    handler.reset()
