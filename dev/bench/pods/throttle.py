"""A store's line as some stores have it: so many bytes a second for each connection, whoever else is served.

Before a server, of whose bytes it understands nothing. ``GET`` at the control port answers how much went to
which client in which tenth of a second, ``DELETE`` forgets it. One process, standard library only: it runs in
a pod.
"""

import argparse
import asyncio
import contextlib
import json
import time
from collections import Counter

BLOCK = 32 << 10
SLOT = 0.1


class Throttle:
    def __init__(self, upstream: tuple[str, int], rate: float) -> None:
        """``rate`` in bytes a second, of answers; requests pass as they come."""
        self.upstream, self.rate = upstream, rate
        self.traffic: Counter[tuple[int, str]] = Counter()
        """Bytes by slot (of the time since the epoch) and client."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = writer.get_extra_info("peername")[0]
        with contextlib.suppress(OSError):
            up_reader, up_writer = await asyncio.open_connection(*self.upstream, limit=BLOCK)
            passing = asyncio.create_task(self.pass_on(reader, up_writer))
            try:
                await self.pace(up_reader, writer, client)
            finally:
                passing.cancel()
                up_writer.close()
        writer.close()

    @staticmethod
    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while block := await reader.read(BLOCK):
                writer.write(block)
                await writer.drain()
            writer.write_eof()

    async def pace(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: str
    ) -> None:
        """A sleep that was too long is made up for by the next: on a busy machine, too, the rate is kept."""
        paid = time.monotonic()
        while block := await reader.read(BLOCK):
            writer.write(block)
            await writer.drain()
            self.traffic[int(time.time() / SLOT), client] += len(block)
            # What was not used is not saved up, but for two blocks.
            paid = max(paid, time.monotonic() - 2 * BLOCK / self.rate) + len(block) / self.rate
            await asyncio.sleep(max(0, paid - time.monotonic()))

    async def control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if (await reader.readuntil(b"\r\n\r\n")).startswith(b"DELETE "):
                self.traffic.clear()
            body = json.dumps(self.rows()).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
        writer.close()

    def rows(self) -> list[tuple[int, str, int]]:
        return [(slot, client, count) for (slot, client), count in sorted(self.traffic.items())]


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", default="0.0.0.0:7070")
    parser.add_argument("--control", default="0.0.0.0:9000")
    parser.add_argument("--upstream", required=True, help="HOST:PORT")
    parser.add_argument("--rate", type=float, required=True, help="bytes a second a connection")
    options = parser.parse_args()
    throttle = Throttle(address(options.upstream), options.rate)
    doors = [
        await asyncio.start_server(throttle.serve, *address(options.listen), limit=BLOCK),
        await asyncio.start_server(throttle.control, *address(options.control)),
    ]
    ports = [door.sockets[0].getsockname()[1] for door in doors]
    print(json.dumps(dict(zip(("listen", "control"), ports, strict=True))), flush=True)
    await asyncio.gather(*(door.serve_forever() for door in doors))


def address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    asyncio.run(main())
