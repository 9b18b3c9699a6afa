"""The whole embed service in front of a hosted endpoint: its key at the start, and what it bills when a call fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from headrace import topics
from headrace.embed.v1 import embed_service_pb2 as pb
from headrace.embed.v1 import embed_service_pb2_grpc as pb_grpc
from headrace_embed.bootstrap import build
from headrace_embed.settings import Settings
from headrace_errors import Unavailable
from headrace_messaging import Bus, Codec, Event, Publisher, Subscriber, Subscription
from headrace_runtime import CallContext, CannotStart, KafkaSettings, Peer, serve
from headrace_runtime.settings import GrpcSettings
from headrace_storage import ObjectBlobs
from headrace_testkit import embedded_bus
from headrace_testkit.hostile_provider import EMBEDDING_DIMS, EMBEDDING_TOKENS, hostile_provider

MANIFEST = """
name: rented
kind: embedding
licence: proprietary
origin: https://example.org
dims: {dims}
max_tokens: 100
source:
  endpoint: {{base_url: "{base_url}", model: small, key_env: ACME_EMBED_KEY, texts_max: 1, requests_max: 1}}
"""


@pytest.fixture(scope="module")
def bus(tmp_path_factory):
    """Run one bus for all tests here."""
    with embedded_bus(tmp_path_factory.mktemp("bus")) as running_bus:
        yield running_bus


def settings_of(bus: Bus, folder: Path, base_url: str) -> Settings:
    """Declare the endpoint, a text a request and one request at a time, and name it."""
    (folder / "manifests").mkdir()
    manifest = MANIFEST.format(dims=EMBEDDING_DIMS, base_url=base_url)
    (folder / "manifests" / "rented.yaml").write_text(manifest, "utf-8")
    return Settings(
        data_dir=folder / "data",
        kafka=KafkaSettings(bootstrap=bus.bootstrap, generation=bus.generation),
        grpc=GrpcSettings(listen=f"unix:{folder}/embed.sock"),
        model="rented",
        models_dir=str(folder / "manifests"),
    )


@asynccontextmanager
async def running(
    bus: Bus, settings: Settings, seen: list[Event]
) -> AsyncIterator[tuple[Peer, pb_grpc.EmbedServiceStub]]:
    """Run the service until the block ends; its usage goes to `seen`."""
    codec = Codec(bus, ObjectBlobs.in_folder(settings.blobs_dir))
    publisher = Publisher(bus, codec, client_id="test")
    await publisher.start()

    async def see(event: Event, _ending: object = None) -> tuple[()]:
        seen.append(event)
        return ()

    listener = Subscriber(
        bus, [Subscription(topics.USAGE_RECORDED, see, see)], group="test", publisher=publisher, codec=codec
    )
    stopping = asyncio.Event()
    tasks = [asyncio.create_task(serve(settings, build, stopping)), asyncio.create_task(listener.run())]
    peer = Peer("embed", settings.grpc.listen)
    try:
        yield peer, pb_grpc.EmbedServiceStub(peer.channel)
    finally:
        stopping.set()
        listener.stop()
        await peer.close()
        await asyncio.gather(*tasks)
        await publisher.stop()


def caller() -> CallContext:
    """Return the context of a caller."""
    return CallContext("acme", ("everyone",), datetime.now(UTC) + timedelta(seconds=30), "r1")


async def test_a_missing_key_stops_the_start_and_is_named(bus, tmp_path, monkeypatch):
    """A service that was ready without it would fail every call; the endpoint was not asked."""
    monkeypatch.delenv("ACME_EMBED_KEY", raising=False)
    with hostile_provider("reply") as provider:
        settings = settings_of(bus, tmp_path, provider.base_url)
        with pytest.raises(CannotStart, match="ACME_EMBED_KEY is not set"):
            async with asyncio.timeout(60):
                await serve(settings, build, asyncio.Event())
        assert provider.calls == []


async def test_what_was_paid_for_before_a_call_failed_is_told_as_usage(bus, tmp_path, monkeypatch):
    """Two texts are answered, the third meets an error, the fourth is not sent; the next call is told whole."""
    monkeypatch.setenv("ACME_EMBED_KEY", "secret")
    seen: list[Event] = []
    with hostile_provider("reply", "reply", "500", "reply") as provider:
        async with running(bus, settings_of(bus, tmp_path, provider.base_url), seen) as (peer, stub):
            async with asyncio.timeout(60):
                while not provider.calls:
                    with suppress(Unavailable):
                        await peer.call(stub.Info, pb.InfoRequest(), caller())
                        break
                    await asyncio.sleep(0.02)
            request = pb.EmbedRequest(texts=["a", "bb", "ccc", "dddd"], priority=pb.PRIORITY_QUERY)
            with pytest.raises(Unavailable):
                await peer.call(stub.Embed, request, caller())
            assert len(provider.calls) == 3
            assert (await peer.call(stub.Embed, request, caller())).vectors.rows == 4
            async with asyncio.timeout(60):
                while len(seen) < 2:  # noqa: ASYNC110 - the bus tells when, not this loop
                    await asyncio.sleep(0.02)
        assert {call["headers"]["Authorization"] for call in provider.calls} == {"Bearer secret"}
    told = [(event.payload.status, event.payload.quantities[0].quantity) for event in seen]
    assert sorted(told) == [("completed", 4 * EMBEDDING_TOKENS), ("failed", 2 * EMBEDDING_TOKENS)]
    assert {(event.payload.tenant, event.payload.request_id, event.payload.model) for event in seen} == {
        ("acme", "r1", "rented")
    }
    assert len({event.envelope.id for event in seen}) == 2
