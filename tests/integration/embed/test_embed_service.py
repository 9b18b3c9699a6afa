"""The whole embed service on the embedded bus: gRPC in front, events behind, the null model inside."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from headrace import topics
from headrace.embed.v1 import embed_service_pb2 as pb
from headrace.embed.v1 import embed_service_pb2_grpc as pb_grpc
from headrace.ingest.v1 import events_pb2 as ingest_pb2
from headrace_embed.bootstrap import build
from headrace_embed.settings import Settings
from headrace_errors import InvalidMessage, Unavailable
from headrace_messaging import Bus, Codec, Event, Outgoing, Publisher, Subscriber, Subscription, new_envelope
from headrace_runtime import CallContext, KafkaSettings, Peer, serve
from headrace_runtime.settings import GrpcSettings
from headrace_storage import ObjectBlobs
from headrace_testkit import embedded_bus


@dataclass
class Running:
    """The service, a client of its RPCs, and what it published."""

    peer: Peer
    stub: pb_grpc.EmbedServiceStub
    publisher: Publisher
    seen: list[Event] = field(default_factory=list)

    def call(self, request_id: str = "r1") -> CallContext:
        """Return the context of a caller."""
        return CallContext("acme", ("everyone",), datetime.now(UTC) + timedelta(seconds=20), request_id)

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


def usage_in(events: list[Event]) -> list[Event]:
    """Return the usage events."""
    return [event for event in events if event.topic == topics.USAGE_RECORDED]


def chunks(document: str, texts: list[str], *, version: int = 1, deleted: bool = False) -> Outgoing:
    """Return a part as ingest publishes it."""
    part = ingest_pb2.ChunksCreated(
        document=ingest_pb2.Document(document=document, version=version, allow=["everyone"], chunks_total=len(texts)),
        chunks=[ingest_pb2.Chunk(chunk_id=f"{document}{at}", ordinal=at, text=text) for at, text in enumerate(texts)],
        parts=1,
        deleted=deleted,
    )
    envelope = new_envelope(topics.CHUNKS_CREATED, tenant="acme", source="/headrace/ingest")
    return Outgoing(topics.CHUNKS_CREATED, f"acme/{document}", part, envelope)


@asynccontextmanager
async def running(bus: Bus, folder: Path) -> AsyncIterator[Running]:
    """Run the service in this loop until the block ends."""
    settings = Settings(
        data_dir=folder / "data",
        kafka=KafkaSettings(bootstrap=bus.bootstrap, generation=bus.generation),
        grpc=GrpcSettings(listen=f"unix:{folder}/embed.sock"),
        model="null",
        null_run_log=folder / "runs.jsonl",
    )
    codec = Codec(bus, ObjectBlobs.in_folder(settings.blobs_dir))
    publisher = Publisher(bus, codec, client_id="test")
    await publisher.start()
    peer = Peer("embed", settings.grpc.listen)
    it = Running(peer, pb_grpc.EmbedServiceStub(peer.channel), publisher)

    async def see(event: Event) -> tuple[()]:
        it.seen.append(event)
        return ()

    async def ended(event: Event, _ending: object) -> tuple[()]:
        return await see(event)

    listened = (topics.CHUNKS_EMBEDDED, topics.USAGE_RECORDED, topics.EMBED_DOCUMENT_FAILED)
    listener = Subscriber(
        bus, [Subscription(topic, see, ended) for topic in listened], group="test", publisher=publisher, codec=codec
    )
    stopping = asyncio.Event()
    tasks = [asyncio.create_task(serve(settings, build, stopping)), asyncio.create_task(listener.run())]
    try:
        await it.until_ready()
        yield it
    finally:
        stopping.set()
        listener.stop()
        await peer.close()
        await asyncio.gather(*tasks)
        await publisher.stop()


@pytest.fixture(scope="module")
def bus(tmp_path_factory):
    """Run one bus for all tests here."""
    with embedded_bus(tmp_path_factory.mktemp("bus")) as running_bus:
        yield running_bus


async def test_a_query_is_embedded_and_its_usage_published_once(bus, tmp_path):
    """Vectors come back packed; the same call for the same request makes the same usage event."""
    async with running(bus, tmp_path) as service:
        first = await service.embed("where does the water go", "to the mill")
        second = await service.embed("where does the water go", "to the mill")
        assert first.vectors.data == second.vectors.data
        vectors = np.frombuffer(first.vectors.data, "<f4").reshape(first.vectors.rows, first.vectors.dimensions)
        assert vectors.shape == (2, 384)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        assert list(first.tokens) == [6, 4]
        assert (first.cached_tokens, second.cached_tokens) == (0, 10)
        assert set(first.timings_ms) == {"tokenize", "queue", "infer"}
        events = await service.published(lambda seen: len(seen) >= 2)
        assert len({event.envelope.id for event in events}) == 1
        assert {(event.payload.tenant, event.payload.request_id) for event in events} == {("acme", "r1")}
        assert events[0].payload.quantities[0].quantity == 10


async def test_usage_outlives_the_bus(bus, tmp_path):
    """What a bus forgot, of a query and of a document, is told to the next one under the same ids."""
    async with running(bus, tmp_path) as service:
        await service.embed("where does the water go")
        await service.publisher.publish(chunks("u.md", ["the river"]))
        told = usage_in(await service.published(lambda seen: len(usage_in(seen)) >= 2))
    with embedded_bus(tmp_path / "another-bus") as new_bus:
        async with running(new_bus, tmp_path) as service:
            again = await service.published(lambda seen: len(usage_in(seen)) >= 2)
            assert {event.envelope.id for event in usage_in(again)} == {event.envelope.id for event in told}


async def test_a_stream_is_answered_in_order_and_info_tells_the_limits(bus, tmp_path):
    """Batch after batch; Info names the model by its hash."""
    async with running(bus, tmp_path) as service:

        async def batches() -> AsyncIterator[pb.EmbedStreamRequest]:
            for size in (1, 3, 2):
                yield pb.EmbedStreamRequest(request=pb.EmbedRequest(texts=[f"text {at}" for at in range(size)]))

        answers = service.peer.stream(service.stub.EmbedStream, batches(), service.call(""))
        assert [answer.response.vectors.rows async for answer in answers] == [1, 3, 2]
        info = await service.peer.call(service.stub.Info, pb.InfoRequest(), service.call())
        assert (info.dimensions, info.tokens_max, info.texts_max, info.device) == (384, 256, 256, "cpu")
        assert len(info.model.sha256) == 64


async def test_a_bad_call_is_refused_and_disturbs_nothing(bus, tmp_path):
    """No texts, an empty one, too many: INVALID_ARGUMENT with the limit; the next call works."""
    async with running(bus, tmp_path) as service:
        for texts in ([], [""], ["a"] * 257, ["a" * 70_000]):
            with pytest.raises(InvalidMessage):
                await service.embed(*texts)
        assert (await service.embed("a")).vectors.rows == 1


async def test_documents_and_deletions_pass_in_order(bus, tmp_path):
    """Two versions and a deletion of one document come out in that order, each part whole, with usage for the text."""
    async with running(bus, tmp_path) as service:
        await service.publisher.publish(chunks("a.md", ["the river", "the mill"], version=1))
        await service.publisher.publish(chunks("a.md", [f"wheel {at}" for at in range(300)], version=2))
        await service.publisher.publish(chunks("a.md", [], version=3, deleted=True))
        embedded = [
            event
            for event in await service.published(lambda seen: sum(e.topic == topics.CHUNKS_EMBEDDED for e in seen) >= 3)
            if event.topic == topics.CHUNKS_EMBEDDED
        ]
        parts = [event.payload for event in embedded]
        assert [part.part.document.version for part in parts] == [1, 2, 3]
        assert [part.vectors.rows for part in parts] == [2, 300, 0]
        assert [part.part.deleted for part in parts] == [False, False, True]
        assert {event.key for event in embedded} == {"acme/a.md"}
        assert len(parts[1].vectors.data) == 300 * 384 * 4
        runs = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text("utf-8").splitlines()]
        assert sum(run["texts"] for run in runs) == 302 + 2  # each once; two warm the service up
