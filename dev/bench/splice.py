"""The floor for plain HTTP: ranged GETs into UploadParts by splice(2), no byte ever seen.

A program of its own, `python -I -S splice.py PLAN`; only the standard library. It checks nothing
but statuses, retries nothing and has no checksum: what is left is what the kernel needs.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import threading
from collections import deque
from pathlib import Path
from typing import Any

_PIPE = 1 << 20
_HEAD_LIMIT = 64 << 10


def main() -> int:
    plan = json.loads(Path(sys.argv[1]).read_text())
    parts: list[dict[str, Any]] = plan["parts"]
    etags: list[str | None] = [None] * len(parts)
    todo = deque(range(len(parts)))

    def stream() -> None:
        source, destination = _connect(plan["source"]), _connect(plan["destination"])
        pipe = os.pipe()
        fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, _PIPE)
        while True:
            try:
                index = todo.popleft()
            except IndexError:
                return
            etags[index] = _copy(parts[index], source, destination, pipe)

    threads = [threading.Thread(target=stream) for _ in range(plan["streams"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    Path(plan["etags"]).write_text(json.dumps(etags))
    return 0 if all(etags) else 1


def _connect(address: list[Any]) -> socket.socket:
    """Blocking, as splice(2) wants it."""
    sock = socket.create_connection(tuple(address))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _copy(
    part: dict[str, Any], source: socket.socket, destination: socket.socket, pipe: tuple[int, int]
) -> str:
    """Returns its ETag. Raises for anything but success."""
    source.sendall(part["get"].encode())
    destination.sendall(part["put"].encode())
    _, first = _head(source)  # of the body, what came with the head
    destination.sendall(first)
    left = part["length"] - len(first)
    while left:
        filled = os.splice(source.fileno(), pipe[1], min(left, _PIPE))
        if not filled:
            raise ConnectionError("the source closed the connection")
        left -= filled
        while filled:
            filled -= os.splice(pipe[0], destination.fileno(), filled)
    headers, _ = _head(destination)
    return headers["etag"].strip('"')


def _head(sock: socket.socket) -> tuple[dict[str, str], bytes]:
    """The headers of an answer, and what of its body came with them."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(_HEAD_LIMIT)
        if not more or len(data) > _HEAD_LIMIT:
            raise ConnectionError(f"no answer: {data[:200]!r}")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    if status.split()[1] not in ("200", "206"):
        raise ConnectionError(f"{status}: {body[:500]!r}")
    return {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }, body


if __name__ == "__main__":
    sys.exit(main())
