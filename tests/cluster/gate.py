"""A door between a client and an S3 server that a test can hold shut. Runs in a pod, standard library only.

Every request is passed on whole and answered whole, one a connection. A rule is a regular expression
for ``METHOD path?query``; a request that matches one is *held* before it is passed on, until the test
releases it: forwarded, or dropped (the connection is cut, the server never sees it).

Control, on port 9000: ``PUT /rule`` (the body is the expression), ``DELETE /rule``, ``GET /held``
(JSON: the held requests), ``PUT /release`` (body ``forward`` or ``drop``).
"""

import asyncio
import json
import os
import re
import sys

BLOCK = 1 << 18


class Gate:
    def __init__(self, host, port):
        self.upstream = host, port
        self.rule = None
        self.held = {}

    async def serve(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            line, _, rest = head.partition(b"\r\n")
            method, target, _ = line.decode("latin-1").split(" ")
            request = f"{method} {target}"
            if self.rule and self.rule.search(request) and not await self.hold(request):
                return
            up_reader, up_writer = await asyncio.open_connection(*self.upstream)
            lines = [
                h for h in rest.split(b"\r\n") if h and not h.lower().startswith(b"connection:")
            ]
            up_writer.write(b"\r\n".join([line, *lines, b"Connection: close", b"", b""]))
            length = next(
                (int(h.split(b":")[1]) for h in lines if h.lower().startswith(b"content-length:")),
                0,
            )
            sending = asyncio.create_task(self.pump(reader, up_writer, length))
            await self.pump(up_reader, writer)
            sending.cancel()
            up_writer.close()
        except (OSError, asyncio.IncompleteReadError, ValueError):
            pass
        finally:
            writer.close()

    async def hold(self, request):
        released = asyncio.get_running_loop().create_future()
        self.held[released] = request
        try:
            return await released
        finally:
            del self.held[released]

    @staticmethod
    async def pump(reader, writer, length=None):
        while length is None or length > 0:
            block = await reader.read(BLOCK if length is None else min(BLOCK, length))
            if not block:
                return
            writer.write(block)
            await writer.drain()
            if length is not None:
                length -= len(block)

    async def control(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        found = re.search(rb"content-length: *(\d+)", head, re.I)
        body = (await reader.readexactly(int(found[1]))).decode() if found else ""
        verb = b" ".join(head.split(b" ")[:2]).decode()
        if verb == "PUT /rule":
            self.rule = re.compile(body)
        elif verb == "DELETE /rule":
            self.rule = None
        elif verb == "PUT /release":
            for released in self.held:
                if not released.done():
                    released.set_result(body == "forward")
        answer = json.dumps(list(self.held.values())).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))
        await writer.drain()
        writer.close()


async def main():
    host, port = sys.argv[1].rsplit(":", 1)
    gate = Gate(host, int(port))
    door = await asyncio.start_server(gate.serve, "0.0.0.0", 7070, limit=BLOCK)  # noqa: S104
    await asyncio.start_server(gate.control, "0.0.0.0", 9000)  # noqa: S104
    print("open", os.getpid(), flush=True)
    await door.serve_forever()


asyncio.run(main())
