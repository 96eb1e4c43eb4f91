"""A server of one file, as RFC 9110 has it: conditions, ranges or none, validators or none; and faults."""

import contextlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BLOCK = 1 << 16


@dataclass
class File:
    """``etag`` as it stands in the header; ``headers`` are further ones of every answer."""

    data: bytes
    etag: str | None = '"v1"'
    modified: str | None = "Fri, 02 Jan 2026 03:04:05 GMT"
    ranges: bool = True
    headers: dict[str, str] = field(default_factory=dict)


class WebServer(ThreadingHTTPServer):
    """``requests`` are the headers of those that came, ``sent`` the bytes of bodies that went."""

    daemon_threads = True

    def __init__(self, file: File, ca: Path | None = None) -> None:
        """``ca``: a certificate to speak TLS with, its key beside it."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.file = file
        self.required: dict[str, str] = {}
        """Headers without which nobody is let in."""
        self.breaks: list[int] = []
        """After so many bytes of a body the connection breaks, of the next answers but those to the operator."""
        self.requests: list[dict[str, str]] = []
        self.sent = 0
        self.lock = threading.Lock()
        scheme = "https" if ca else "http"
        self.url = f"{scheme}://127.0.0.1:{self.server_port}/a%20file?signature=s3cr3t"
        if ca:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(ca, ca.with_name("private.key"))
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def ranges(self) -> list[str]:
        """Those that were asked for, but for the operator's looks."""
        asked = [request.get("range", "") for request in self.requests]
        return [one for one in asked if one != "bytes=0-0"]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Somebody has hung up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WebServer

    def do_GET(self) -> None:
        server, file = self.server, self.server.file
        asked = {name.lower(): value for name, value in self.headers.items()}
        with server.lock:
            server.requests.append(asked)
        if any(asked.get(name.lower()) != value for name, value in server.required.items()):
            self._answer(401, b"", {})
            return
        shown = {"ETag": file.etag, "Last-Modified": file.modified}
        fields = {name: value for name, value in shown.items() if value} | file.headers
        if not self._holds(file):
            self._answer(412, b"", fields)
            return
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", asked.get("range", ""))
        size = len(file.data)
        if not wanted or not file.ranges:
            self._answer(200, file.data, fields)
        elif int(wanted[1]) >= size:
            self._answer(416, b"", {"Content-Range": f"bytes */{size}"})
        else:
            first, last = int(wanted[1]), min(int(wanted[2]), size - 1)
            content_range = {"Content-Range": f"bytes {first}-{last}/{size}"}
            self._answer(206, file.data[first : last + 1], fields | content_range)

    def _holds(self, file: File) -> bool:
        """RFC 9110, 13.2.2; by the strong comparison."""
        if (match := self.headers.get("If-Match")) is not None:
            return match == file.etag and not match.startswith("W/")
        since = self.headers.get("If-Unmodified-Since")
        if since is None or file.modified is None:
            return True
        return _time(file.modified) <= _time(since)

    def _answer(self, status: int, body: bytes, fields: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | fields).items():
            self.send_header(name, value)
        self.end_headers()
        whole = len(body)
        look = self.headers.get("Range") == "bytes=0-0"
        with self.server.lock:
            if whole and self.server.breaks and not look:
                body = body[: self.server.breaks.pop(0)]
        for start in range(0, len(body), BLOCK):
            self.wfile.write(body[start : start + BLOCK])
            with self.server.lock:
                self.server.sent += len(body[start : start + BLOCK])
        if len(body) < whole:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _time(text: str) -> datetime:
    return parsedate_to_datetime(text)


@contextlib.contextmanager
def serving(file: File, ca: Path | None = None) -> Iterator[WebServer]:
    server = WebServer(file, ca)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
