"""A proxy that shows a client what a network, a store and an API server can do to it.

One process, standard library only, so that it also runs in a pod. Each connection carries one request.
Bodies are streamed with back-pressure; TLS is spoken to clients with ``--cert`` and to an https upstream.

Rules are set at the control port as JSON: ``PUT /rules`` (replaces the list), ``GET``, ``DELETE``. The
first rule that matches and is not spent wins::

    {"name": "slow", "match": "^PUT .*partNumber=2&", "header": "^Range: bytes=0-", "body": "<Part>",
     "skip": 0, "times": 1, "do": {"kind": "answer", "status": 503}}

``match`` is searched in ``METHOD target``, ``header`` in the head, ``body`` in the first MiB of the
request's body. ``above``: only while more requests than that are under way, this one included. The first
``skip`` matches pass, then ``times`` are met (absent: all). What is done:

    hold      at request (``whole``: after its body was taken in) | answer, until it is released
    reset     at request | request-body | answer (the upstream has answered whole) | answer-body
    stall     at request-body | answer | answer-body, for ``seconds`` (absent: an hour)
    trickle   at request-body | answer-body: ``bytes_per_second``
    flip      at request-body | answer-body: ``bit`` of the byte at ``offset``
    truncate  the answer's body ``after`` bytes, with a clean end of the stream
    answer    ``status``, ``headers``, ``body``; not forwarded; ``early``: before the body was read
    edit      the answer's ``status``, ``headers`` (null removes), ``replace`` in its body

``after`` counts bytes of the body, as ``offset`` does. A framed body's bytes include the frames.

``GET /held``; ``PUT /release`` {"how": "forward" | "drop", "name"}; ``PUT /down`` refuses connections
and cuts those there are; ``PUT /up``; ``GET /log``, ``DELETE /log``: each request with its status (null:
none came), the bytes of body that were forwarded each way, when it began and ended, and how many were under
way when it came.
"""

import argparse
import asyncio
import contextlib
import fcntl
import json
import re
import socket
import ssl
import struct
import termios
import time
from collections import deque
from http.client import responses
from urllib.parse import urlsplit

BLOCK = 1 << 16
BODY_SEARCHED = 1 << 20
HELD_WHOLE = 64 << 20
EDITED_WHOLE = 4 << 20
LINGER_SECONDS = 5


class CutError(Exception):
    """The rule says that the client's connection ends here; ``reset``, or else cleanly."""

    def __init__(self, reset):
        super().__init__()
        self.reset = reset


class Head:
    """The first line and the header lines of a message."""

    def __init__(self, raw):
        self.raw = raw.decode("latin-1")
        self.first, *lines = self.raw[:-4].split("\r\n")
        self.headers = [line.split(":", 1) for line in lines if ":" in line]

    def get(self, name, default=""):
        found = (v.strip() for n, v in self.headers if n.lower() == name.lower())
        return next(found, default)

    def set(self, name, value):
        """``None`` removes."""
        self.headers = [[n, v] for n, v in self.headers if n.lower() != name.lower()]
        if value is not None:
            self.headers.append([name, f" {value}"])

    def encode(self):
        lines = [self.first, *(f"{name}:{value}" for name, value in self.headers)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    @property
    def length(self):
        """Of the body, as the head says; None where it does not."""
        value = self.get("Content-Length")
        return int(value) if value else None


class Proxy:
    def __init__(self, upstream, upstream_tls, client_tls):
        self.upstream, self.upstream_tls, self.client_tls = upstream, upstream_tls, client_tls
        self.rules, self.log, self.held = [], deque(maxlen=100_000), {}
        self.door, self.address, self.live = None, None, {}
        self.under_way = 0

    # Opening and closing.

    async def up(self, host, port):
        self.door = await asyncio.start_server(
            self.serve, host, port, limit=BLOCK, ssl=self.client_tls
        )
        self.address = host, self.door.sockets[0].getsockname()[1]

    def down(self):
        if self.door:
            self.door.close()
            self.door = None
        for task, writer in self.live.items():
            task.cancel()
            cut(writer, reset=True)

    async def serve(self, reader, writer):
        self.live[asyncio.current_task()] = writer
        try:
            await self.exchange(reader, writer)
            await finish(writer)
        except CutError as end:
            with contextlib.suppress(OSError):
                await flushed(writer)
            cut(writer, reset=end.reset)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            cut(writer, reset=True)
        except asyncio.CancelledError:
            pass
        finally:
            del self.live[asyncio.current_task()]
            writer.close()

    # One request.

    async def exchange(self, reader, writer):
        head = Head(await reader.readuntil(b"\r\n\r\n"))
        method, target, _ = head.first.split(" ")
        request = f"{method} {target}"
        entry = {"request": request, "status": None, "request_bytes": 0, "answer_bytes": 0}
        self.under_way += 1
        entry |= {"rule": None, "at": time.monotonic(), "end": None, "under_way": self.under_way}
        self.log.append(entry)
        body = Body(reader, writer, head)
        try:
            rule = await self.choose(request, head, body)
            entry["rule"] = rule["name"] if rule else None
            do = rule["do"] if rule else {"kind": "pass", "at": None}
            if do["kind"] == "answer":
                entry["status"] = do["status"]
                await self.answer(writer, body, do, method)
            else:
                await self.forward(head, body, writer, entry, do)
        finally:
            self.under_way -= 1
            entry["end"] = time.monotonic()

    async def choose(self, request, head, body):
        for rule in self.rules:
            if rule["times"] == 0 or not re.search(rule["match"], request):
                continue
            if self.under_way <= rule.get("above", 0):
                continue
            if not re.search(rule.get("header", ""), head.raw, re.MULTILINE | re.IGNORECASE):
                continue
            if "body" in rule:
                await body.take(BODY_SEARCHED)
                if not re.search(rule["body"], body.taken.decode("latin-1")):
                    continue
            if rule["skip"] > 0:
                rule["skip"] -= 1
                continue
            if rule["times"] is not None:
                rule["times"] -= 1
            return rule
        return None

    @staticmethod
    async def answer(writer, body, do, method):
        if not do.get("early"):
            async for _ in body.blocks():
                pass
        text = "" if method == "HEAD" else do.get("body", "")
        head = Head(f"HTTP/1.1 {do['status']} {phrase(do['status'])}\r\n\r\n".encode())
        for name, value in {"Content-Type": "application/xml", **do.get("headers", {})}.items():
            head.set(name, value)
        head.set("Content-Length", len(text.encode()))
        head.set("Connection", "close")
        writer.write(head.encode() + text.encode())
        await writer.drain()
        if do.get("early"):
            raise CutError(reset=False)

    async def forward(self, head, body, writer, entry, do):
        kind, at = do["kind"], do.get("at")
        if at == "request":
            if kind == "hold":
                if do.get("whole"):
                    await body.take(HELD_WHOLE)
                await self.hold(entry, at)
            else:
                raise CutError(reset=True)
        up_reader, up_writer = await asyncio.open_connection(
            *self.upstream, limit=BLOCK, ssl=self.upstream_tls
        )
        head.set("Expect", None)
        head.set("Connection", "close")
        sending = asyncio.create_task(
            send(impaired(body.blocks(), do, "request-body"), head, up_writer, entry)
        )
        answering = asyncio.create_task(read_head(up_reader))
        tasks = [sending, answering]
        try:
            await asyncio.wait({sending, answering}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done() or (kind, at) == ("reset", "request-body"):
                await sending
            answer = await answering
            entry["status"] = int(answer.first.split(" ")[1])
            bodiless = head.first.startswith("HEAD ") or entry["status"] in (204, 304)
            length = 0 if bodiless else answer.length
            blocks = read(up_reader, length)
            if at == "answer":
                blocks = replay(await gather(blocks, EDITED_WHOLE), blocks)
                if kind == "hold":
                    await self.hold(entry, at)
                elif kind == "reset":
                    raise CutError(reset=True)
                else:
                    await asyncio.sleep(do.get("seconds", 3600))
            elif kind == "edit":
                blocks = await edit(answer, blocks, do)
            elif kind == "truncate":
                at = "answer-body"
            answer.set("Connection", "close")
            answer.set("Keep-Alive", None)
            writer.write(answer.encode())
            if length is None and not body.left:
                # Endless, perhaps, as a watch is: it ends when the client leaves.
                tasks.append(asyncio.create_task(follow(body.reader, up_writer)))
            async for block in impaired(blocks, do, "answer-body"):
                writer.write(block)
                entry["answer_bytes"] += len(block)
                await writer.drain()
            if not sending.done():  # It answered before it had read everything.
                await asyncio.wait({sending}, timeout=LINGER_SECONDS)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if entry["status"] is None:
                up_writer.transport.abort()  # What was cut off must not look whole.
            up_writer.close()

    async def hold(self, entry, at):
        released = asyncio.get_running_loop().create_future()
        self.held[released] = {"name": entry["rule"], "request": entry["request"], "at": at}
        try:
            if await released == "drop":
                raise CutError(reset=True)
        finally:
            del self.held[released]

    # The control port.

    async def control(self, reader, writer):
        try:
            head = Head(await reader.readuntil(b"\r\n\r\n"))
            body = json.loads(await reader.readexactly(head.length or 0) or "null")
            try:
                status, answer = 200, await self.command(head.first.rpartition(" ")[0], body)
            except (KeyError, TypeError, ValueError, OSError, re.error) as error:
                status, answer = 400, f"{type(error).__name__}: {error}"
            text = json.dumps(answer).encode()
            writer.write(
                f"HTTP/1.1 {status} {phrase(status)}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n".encode()
            )
            writer.write(text)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def command(self, verb, body):
        match verb:
            case "PUT /rules":
                self.rules = [check(rule, number) for number, rule in enumerate(body)]
            case "DELETE /rules":
                self.rules = []
            case "GET /held":
                return list(self.held.values())
            case "PUT /release":
                for released, held in self.held.items():
                    if body.get("name") in (None, held["name"]) and not released.done():
                        released.set_result(body["how"])
            case "PUT /down":
                self.down()
            case "PUT /up":
                if self.door is None:
                    await self.up(*self.address)
            case "GET /log":
                return list(self.log)
            case "DELETE /log":
                self.log.clear()
            case "GET /rules":
                pass
            case _:
                raise ValueError(f"{verb} is not known")
        return self.rules


KINDS = {
    "hold": {"request", "answer"},
    "reset": {"request", "request-body", "answer", "answer-body"},
    "stall": {"request-body", "answer", "answer-body"},
    "trickle": {"request-body", "answer-body"},
    "flip": {"request-body", "answer-body"},
    "truncate": {None},
    "answer": {None},
    "edit": {None},
}


def check(rule, number):
    """The rule with its defaults. Raises what is wrong with it: a rule that never acts proves nothing."""
    do = rule["do"]
    if do.get("at") not in KINDS[do["kind"]]:
        raise ValueError(f"{do['kind']} at {do.get('at')}")
    for expression in ("match", "header", "body"):
        re.compile(rule.get(expression, ""))
    return {"name": str(number), "skip": 0, "times": None, **rule}


class Body:
    """A request's body: what was taken in already, then what the client still sends."""

    def __init__(self, reader, writer, head):
        if head.get("Transfer-Encoding"):
            raise ValueError("a chunked request")
        self.reader, self.writer = reader, writer
        self.left, self.taken = head.length or 0, b""
        self.expected = head.get("Expect").lower() == "100-continue"

    async def take(self, limit):
        taken = [self.taken]
        while self.left and sum(map(len, taken)) < limit:
            taken.append(await self._next())
        self.taken = b"".join(taken)

    async def blocks(self):
        if self.taken:
            yield self.taken
        while self.left:
            yield await self._next()

    async def _next(self):
        if self.expected:
            self.expected = False
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        block = await self.reader.read(min(BLOCK, self.left))
        if not block:
            raise asyncio.IncompleteReadError(b"", self.left)
        self.left -= len(block)
        return block


async def send(blocks, head, writer, entry):
    """Until the client has sent everything, even when the upstream no longer reads: it may have answered."""
    reads = True
    writer.write(head.encode())
    async for block in blocks:
        if reads:
            try:
                writer.write(block)
                await writer.drain()
                entry["request_bytes"] += len(block)
            except OSError:
                reads = False


async def follow(reader, up_writer):
    """Leave the upstream when the client leaves."""
    with contextlib.suppress(OSError):
        await reader.read(1)
    up_writer.transport.abort()


async def read_head(reader):
    while True:
        head = Head(await reader.readuntil(b"\r\n\r\n"))
        if not head.first.split(" ")[1].startswith("1"):
            return head


async def read(reader, length):
    """``length`` bytes of body; None: until the end of the stream."""
    while length is None or length > 0:
        block = await reader.read(BLOCK if length is None else min(BLOCK, length))
        if not block:
            if length is not None:
                raise asyncio.IncompleteReadError(b"", length)
            return
        if length is not None:
            length -= len(block)
        yield block


async def gather(blocks, limit):
    """The first ``limit`` bytes or a block more."""
    gathered = []
    while sum(map(len, gathered)) < limit:
        block = await anext(blocks, b"")
        if not block:
            break
        gathered.append(block)
    return b"".join(gathered)


async def replay(first, blocks):
    yield first
    async for block in blocks:
        yield block


async def impaired(blocks, do, at):
    """The blocks with the fault in them, if it belongs here."""
    kind, position = do["kind"], 0
    here = do.get("at") == at or (kind == "truncate" and at == "answer-body")
    async for block in blocks:
        after, end = do.get("after", 0), position + len(block)
        if not here:
            yield block
        elif kind == "flip" and position <= do["offset"] < end:
            changed = bytearray(block)
            changed[do["offset"] - position] ^= 1 << do.get("bit", 0)
            yield bytes(changed)
        elif kind == "trickle":
            size = max(1, do["bytes_per_second"] // 10)
            for start in range(0, len(block), size):
                piece = block[start : start + size]
                yield piece
                await asyncio.sleep(len(piece) / do["bytes_per_second"])
        elif kind in ("reset", "truncate", "stall") and position <= after < end:
            yield block[: after - position]
            if kind != "stall":
                raise CutError(reset=kind == "reset")
            await asyncio.sleep(do.get("seconds", 3600))
            yield block[after - position :]
        else:
            yield block
        position = end


async def edit(answer, blocks, do):
    """Change the head; returns the body's blocks, changed."""
    if "status" in do:
        answer.first = f"HTTP/1.1 {do['status']} {phrase(do['status'])}"
    if "replace" in do:
        text = await gather(blocks, EDITED_WHOLE)
        if answer.get("Transfer-Encoding"):
            text = unchunked(text)
            answer.set("Transfer-Encoding", None)
        text = text.decode("latin-1")
        for expression, replacement in do["replace"]:
            text = re.sub(expression, replacement, text, flags=re.DOTALL)
        answer.set("Content-Length", len(text))
        blocks = replay(text.encode("latin-1"), blocks)
    for name, value in do.get("headers", {}).items():
        answer.set(name, value)
    return blocks


def unchunked(text):
    pieces = []
    while text:
        size, _, text = text.partition(b"\r\n")
        length = int(size, 16)
        pieces.append(text[:length])
        text = text[length + 2 :]
    return b"".join(pieces)


async def flushed(writer):
    """Until the kernel has sent what was written: a reset discards the rest."""
    writer.transport.set_write_buffer_limits(1)  # Over TLS, 0 pauses for ever.
    await writer.drain()
    raw = writer.get_extra_info("socket")
    for _ in range(100):
        if not struct.unpack("I", fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]:
            return
        await asyncio.sleep(0.01)


async def finish(writer):
    await flushed(writer)
    if writer.can_write_eof():
        writer.write_eof()


def cut(writer, *, reset):
    """End the connection now: with RST, or with FIN."""
    if reset and (raw := writer.get_extra_info("socket")) and raw.fileno() >= 0:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    writer.close()


def phrase(status):
    return responses.get(status, "Unknown")


async def main():
    parser = argparse.ArgumentParser()
    for option in ("listen", "control", "upstream"):
        parser.add_argument(f"--{option}", required=True)
    parser.add_argument("--upstream-ca")
    parser.add_argument("--upstream-insecure", action="store_true")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    options = parser.parse_args()
    url = urlsplit(options.upstream)
    upstream_tls = client_tls = None
    if url.scheme == "https":
        upstream_tls = ssl.create_default_context(cafile=options.upstream_ca)
        if options.upstream_insecure:
            upstream_tls.check_hostname, upstream_tls.verify_mode = False, ssl.CERT_NONE
    if options.cert:
        client_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        client_tls.load_cert_chain(options.cert, options.key)
    port = url.port or (443 if upstream_tls else 80)
    proxy = Proxy((url.hostname, port), upstream_tls, client_tls)
    host, _, port = options.listen.rpartition(":")
    await proxy.up(host, int(port))
    host, _, port = options.control.rpartition(":")
    control = await asyncio.start_server(proxy.control, host, int(port), limit=1 << 20)
    ports = {"listen": proxy.address[1], "control": control.sockets[0].getsockname()[1]}
    print(json.dumps(ports), flush=True)
    await control.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
