"""A TCP proxy before a broker that can swallow the answers to produce requests: written, and nobody is told.

It reads the first twelve bytes of each request (length, API key, version, correlation id) and nothing else.
"""

from __future__ import annotations

import asyncio
import random
import struct
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_PRODUCE = 0
_HOST = "127.0.0.1"


@dataclass
class AckDropper:
    """Closes a connection instead of passing on a share of the answers to produce requests."""

    upstream: str = ""
    share: float = 0.0
    dropped: int = 0
    port: int = 0
    _random: random.Random = field(default_factory=lambda: random.Random(1))

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends it."""
        host, _, port = self.upstream.rpartition(":")
        try:
            up_reader, up_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return
        doomed: set[int] = set()
        both = [
            asyncio.create_task(self._requests(reader, up_writer, doomed)),
            asyncio.create_task(self._answers(up_reader, writer, doomed)),
        ]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        writer.close()
        up_writer.close()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: set[int]) -> None:
        async for frame in _frames(reader):
            api, _version, correlation = struct.unpack(">hhi", frame[4:12])
            if api == _PRODUCE and self._random.random() < self.share:
                doomed.add(correlation)
            writer.write(frame)
            await writer.drain()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: set[int]) -> None:
        async for frame in _frames(reader):
            (correlation,) = struct.unpack(">i", frame[4:8])
            if correlation in doomed:
                self.dropped += 1
                return
            writer.write(frame)
            await writer.drain()


@contextmanager
def ack_dropper() -> Iterator[AckDropper]:
    """Listen on a free loopback port; set `upstream` before anybody connects, and `share` to begin."""
    dropper, loop, ready = AckDropper(), asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        server = await asyncio.start_server(dropper.handle, _HOST, 0)
        dropper.port = server.sockets[0].getsockname()[1]
        ready.set()
        await server.serve_forever()

    def run() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(serving)

    serving = loop.create_task(serve())
    thread = threading.Thread(target=run, daemon=True, name="proxy")
    thread.start()
    ready.wait()
    try:
        yield dropper
    finally:
        loop.call_soon_threadsafe(serving.cancel)
        thread.join(5)


async def _frames(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield the length-prefixed frames of a connection, prefix included."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readexactly(4)
            yield head + await reader.readexactly(struct.unpack(">i", head)[0])
