"""The whole embed service on the embedded bus: gRPC in front, events behind, the null model inside."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import numpy as np
import pytest
from headrace import topics
from headrace.embed.v1 import embed_service_pb2 as pb
from headrace.ingest.v1 import events_pb2 as ingest_pb2
from headrace_errors import InvalidMessage
from headrace_messaging import Bus, Event, Outgoing, new_envelope
from headrace_testkit import embedded_bus


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


@pytest.fixture
def running(settings_of, run_embed, tmp_path) -> Callable[[Bus], AbstractAsyncContextManager[Any]]:
    """Give what runs the service on a bus with the null model."""
    heard = (topics.CHUNKS_EMBEDDED, topics.USAGE_RECORDED, topics.EMBED_DOCUMENT_FAILED)
    return lambda bus: run_embed(bus, settings_of(bus, model="null", null_run_log=tmp_path / "runs.jsonl"), heard)


async def test_a_query_is_embedded_and_its_usage_published_once(bus, running):
    """Vectors come back packed; the same call for the same request makes the same usage event."""
    async with running(bus) as service:
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


async def test_usage_outlives_the_bus(bus, running, tmp_path):
    """What a bus forgot, of a query and of a document, is told to the next one under the same ids."""
    async with running(bus) as service:
        await service.embed("where does the water go")
        await service.publisher.publish(chunks("u.md", ["the river"]))
        told = usage_in(await service.published(lambda seen: len(usage_in(seen)) >= 2))
    with embedded_bus(tmp_path / "another-bus") as new_bus:
        async with running(new_bus) as service:
            again = await service.published(lambda seen: len(usage_in(seen)) >= 2)
            assert {event.envelope.id for event in usage_in(again)} == {event.envelope.id for event in told}


async def test_a_stream_is_answered_in_order_and_info_tells_the_limits(bus, running):
    """Batch after batch; Info names the model by its hash."""
    async with running(bus) as service:

        async def batches() -> AsyncIterator[pb.EmbedStreamRequest]:
            for size in (1, 3, 2):
                yield pb.EmbedStreamRequest(request=pb.EmbedRequest(texts=[f"text {at}" for at in range(size)]))

        answers = service.peer.stream(service.stub.EmbedStream, batches(), service.call(""))
        assert [answer.response.vectors.rows async for answer in answers] == [1, 3, 2]
        info = await service.peer.call(service.stub.Info, pb.InfoRequest(), service.call())
        assert (info.dimensions, info.tokens_max, info.texts_max, info.device) == (384, 256, 256, "cpu")
        assert len(info.model.sha256) == 64


async def test_a_bad_call_is_refused_and_disturbs_nothing(bus, running):
    """No texts, an empty one, too many: INVALID_ARGUMENT with the limit; the next call works."""
    async with running(bus) as service:
        for texts in ([], [""], ["a"] * 257, ["a" * 70_000]):
            with pytest.raises(InvalidMessage):
                await service.embed(*texts)
        assert (await service.embed("a")).vectors.rows == 1


async def test_documents_and_deletions_pass_in_order(bus, running, tmp_path):
    """Two versions and a deletion of one document come out in that order, each part whole, with usage for the text."""
    async with running(bus) as service:
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
