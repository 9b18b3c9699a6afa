"""A tiny model, declared for the store and for the service; a bus; and the whole service in the loop of a test."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from headrace.embed.v1 import embed_service_pb2 as pb
from headrace.embed.v1 import embed_service_pb2_grpc as pb_grpc
from headrace_embed.bootstrap import build
from headrace_embed.settings import Settings
from headrace_errors import Unavailable
from headrace_inference.store import ModelStore
from headrace_messaging import Bus, Codec, Event, Publisher, Subscriber, Subscription
from headrace_runtime import CallContext, KafkaSettings, Peer, serve
from headrace_runtime.settings import GrpcSettings
from headrace_storage import ObjectBlobs
from headrace_testkit import embedded_bus
from headrace_testkit.tiny_encoders import declare_tiny_bert, write_tiny_bert


@pytest.fixture
def serve_tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModelStore]:
    """Give what declares it, with keys of its manifest changed, and makes it the one that embed's settings name."""

    def declare(*, dims: int = 16, **changes: Any) -> ModelStore:
        weights = write_tiny_bert(tmp_path / "weights", dims=dims)
        manifests = declare_tiny_bert(tmp_path / "manifests", weights, dims=dims, **changes)
        monkeypatch.setenv("HEADRACE_KAFKA__BOOTSTRAP", "nowhere:0")
        monkeypatch.setenv("HEADRACE_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.setenv("HEADRACE_MODELS_DIR", str(manifests))
        monkeypatch.setenv("HEADRACE_EMBED__MODEL", "tiny")
        return ModelStore()

    return declare


@pytest.fixture(scope="module")
def bus(tmp_path_factory):
    """Run one bus for all tests of a module."""
    with embedded_bus(tmp_path_factory.mktemp("bus")) as running_bus:
        yield running_bus


@pytest.fixture
def settings_of(tmp_path: Path) -> Callable[..., Settings]:
    """Give what returns the service's settings on a bus, with its data in the test's folder."""

    def settings(bus: Bus, **changes: Any) -> Settings:
        return Settings(
            data_dir=tmp_path / "data",
            kafka=KafkaSettings(bootstrap=bus.bootstrap, generation=bus.generation),
            grpc=GrpcSettings(listen=f"unix:{tmp_path}/embed.sock"),
            **changes,
        )

    return settings


@dataclass
class Running:
    """The service, a client of its RPCs, and what it published."""

    peer: Peer
    stub: pb_grpc.EmbedServiceStub
    publisher: Publisher
    seen: list[Event] = field(default_factory=list)

    def call(self, request_id: str = "r1") -> CallContext:
        """Return the context of a caller."""
        return CallContext("acme", ("everyone",), datetime.now(UTC) + timedelta(seconds=30), request_id)

    async def embed(self, *texts: str, request_id: str = "r1") -> pb.EmbedResponse:
        """Embed as a query."""
        request = pb.EmbedRequest(texts=texts, priority=pb.PRIORITY_QUERY)
        return await self.peer.call(self.stub.Embed, request, self.call(request_id))

    async def until_ready(self) -> None:
        """Ask until the model is loaded, for at most a minute."""
        async with asyncio.timeout(60):
            while True:
                with suppress(Unavailable):
                    await self.peer.call(self.stub.Info, pb.InfoRequest(), self.call())
                    return
                await asyncio.sleep(0.02)

    async def published(self, enough: Callable[[list[Event]], bool]) -> list[Event]:
        """Wait until enough events were seen, for at most a minute."""
        async with asyncio.timeout(60):
            while not enough(self.seen):  # noqa: ASYNC110 - the bus tells when, not this loop
                await asyncio.sleep(0.02)
        return self.seen


@asynccontextmanager
async def running(bus: Bus, settings: Settings, listened: Sequence[str]) -> AsyncIterator[Running]:
    """Run the service in this loop until the block ends; what comes on the topics `listened` to is seen."""
    codec = Codec(bus, ObjectBlobs.in_folder(settings.blobs_dir))
    publisher = Publisher(bus, codec, client_id="test")
    await publisher.start()
    peer = Peer("embed", settings.grpc.listen)
    it = Running(peer, pb_grpc.EmbedServiceStub(peer.channel), publisher)

    async def see(event: Event, _ending: object = None) -> tuple[()]:
        it.seen.append(event)
        return ()

    listener = Subscriber(
        bus, [Subscription(topic, see, see) for topic in listened], group="test", publisher=publisher, codec=codec
    )
    stopping = asyncio.Event()
    serving, listening = asyncio.create_task(serve(settings, build, stopping)), asyncio.create_task(listener.run())
    ready = asyncio.create_task(it.until_ready())
    try:
        await asyncio.wait([serving, ready], return_when=asyncio.FIRST_COMPLETED)
        await (serving if serving.done() else ready)  # a service that ended says why
        yield it
    finally:
        ready.cancel()
        stopping.set()
        listener.stop()
        await peer.close()
        await asyncio.gather(serving, listening, return_exceptions=True)
        await publisher.stop()
    serving.result()
    listening.result()


@pytest.fixture
def run_embed():
    """Give what runs the service."""
    return running
