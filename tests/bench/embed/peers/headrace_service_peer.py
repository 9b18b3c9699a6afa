"""The whole embed service on an embedded bus, asked over gRPC on a Unix socket: what serving adds to the engine.

Client, service and bus share this process, so the client's own work counts too.
"""

import asyncio
import atexit
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from headrace.embed.v1 import embed_service_pb2 as pb
from headrace.embed.v1 import embed_service_pb2_grpc as pb_grpc
from headrace_embed.bootstrap import build
from headrace_embed.settings import Settings
from headrace_errors import Unavailable
from headrace_runtime import CallContext, KafkaSettings, Peer
from headrace_runtime import serve as serve_service
from headrace_runtime.settings import GrpcSettings
from headrace_testkit import embedded_bus
from worker import Embed, serve

TEXTS_A_CALL = 64
CALLS_AT_ONCE = 8
READY_S_MAX = 120


def open_peer(folder: Path, config: dict[str, Any]) -> Embed:
    """Start the service on the cache that `folder` lies in."""
    runner, held = asyncio.Runner(), ExitStack()
    atexit.register(held.close)
    place = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="bench-embed-")))
    bus = held.enter_context(embedded_bus(place / "bus"))
    settings = Settings(
        data_dir=place / "data",
        kafka=KafkaSettings(bootstrap=bus.bootstrap, generation=bus.generation),
        grpc=GrpcSettings(listen=f"unix:{place}/embed.sock"),
        cache_dir=folder.parents[1],
        variant=config["variant"],
        threads=config["threads"],
        batch_tokens_max=config["batch"],
        vector_cache_bytes_max=0,
    )
    client = _Client(settings)
    held.callback(runner.close)
    runner.run(client.start())
    return lambda texts: runner.run(client.embed(texts))


class _Client:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def start(self) -> None:
        self._serving = asyncio.create_task(serve_service(self._settings, build, asyncio.Event()))
        self._peer = Peer("embed", self._settings.grpc.listen)
        self._stub = pb_grpc.EmbedServiceStub(self._peer.channel)
        async with asyncio.timeout(READY_S_MAX):
            while not self._serving.done():
                with suppress(Unavailable):
                    await self._peer.call(self._stub.Info, pb.InfoRequest(), _call())
                    return
                await asyncio.sleep(0.05)
        await self._serving  # it ended without serving, as with a variant that this host spoils: its error says why

    async def embed(self, texts: Sequence[str]) -> Any:
        at_once = asyncio.Semaphore(CALLS_AT_ONCE)

        async def part(first: int) -> Any:
            async with at_once:
                request = pb.EmbedRequest(texts=texts[first : first + TEXTS_A_CALL], priority=pb.PRIORITY_QUERY)
                vectors = (await self._peer.call(self._stub.Embed, request, _call())).vectors
                return np.frombuffer(vectors.data, "<f4").reshape(vectors.rows, vectors.dimensions)

        return np.concatenate(await asyncio.gather(*(part(first) for first in range(0, len(texts), TEXTS_A_CALL))))


def _call() -> CallContext:
    return CallContext("bench", ("everyone",), datetime.now(UTC) + timedelta(seconds=600), "")


if __name__ == "__main__":
    serve(open_peer, ["headrace-embed", "grpcio", "onnxruntime"])
