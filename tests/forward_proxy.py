"""A forward proxy as stands between a cluster and the world: CONNECT, and whole URLs for plain HTTP.

Every connection carries one request of plain HTTP, or one tunnel.
"""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

BLOCK = 1 << 16


class ForwardProxy(socketserver.ThreadingTCPServer):
    """``requests`` are the first lines that came, ``carried`` the bytes to the stores and from them."""

    daemon_threads = True

    def __init__(self, credentials: str = "") -> None:
        """``credentials`` as in the header that must be sent; none are asked for without."""
        super().__init__(("127.0.0.1", 0), _Connection)
        self.credentials = credentials
        self.requests: list[str] = []
        self.carried = 0
        self.lock = threading.Lock()

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Somebody has hung up."""


class _Connection(socketserver.StreamRequestHandler):
    server: ForwardProxy

    def handle(self) -> None:
        first, *lines = iter(lambda: self.rfile.readline().strip(), b"")
        request = first.decode()
        headers = {line.split(b":", 1)[0].lower(): line for line in lines}
        self.server.requests.append(request)
        sent = headers.pop(b"proxy-authorization", b":").split(b":", 1)[1].strip().decode()
        if sent != self.server.credentials:
            self.wfile.write(
                b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
            )
            return
        method, target, _ = request.split(" ")
        url = urlsplit(target if "://" in target else f"//{target}")
        with socket.create_connection((url.hostname, url.port)) as upstream:
            if method == "CONNECT":
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                headers[b"connection"] = b"Connection: close"
                path = url._replace(scheme="", netloc="").geturl()
                head = [f"{method} {path} HTTP/1.1".encode(), *headers.values()]
                upstream.sendall(b"\r\n".join([*head, b"", b""]))
            there = threading.Thread(target=self._pump, args=(self.rfile, upstream), daemon=True)
            there.start()
            with upstream.makefile("rb") as answer:
                self._pump(answer, self.connection)
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            there.join()

    def _pump(self, source: Any, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := source.read1(BLOCK):
                target.sendall(block)
                with self.server.lock:
                    self.server.carried += len(block)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def forward_proxy(credentials: str = "") -> Iterator[ForwardProxy]:
    with ForwardProxy(credentials) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
