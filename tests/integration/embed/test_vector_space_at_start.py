"""A service that would make other vectors than those it made before does not start, and says what to do."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from headrace.embed.v1 import embed_service_pb2 as pb
from headrace.embed.v1 import embed_service_pb2_grpc as pb_grpc
from headrace_embed.bootstrap import build
from headrace_embed.settings import Settings
from headrace_errors import Unavailable
from headrace_inference.host import this_host
from headrace_inference.onnx_session import runtime_version
from headrace_inference.quality import Quality
from headrace_inference.store import ModelStore
from headrace_inference.tuning import Tunings
from headrace_messaging import Bus
from headrace_runtime import CallContext, CannotStart, Chassis, KafkaSettings, Peer, Service, serve
from headrace_runtime.settings import GrpcSettings
from headrace_testkit import embedded_bus


@pytest.fixture(scope="module")
def bus(tmp_path_factory):
    """Run one bus for all tests here."""
    with embedded_bus(tmp_path_factory.mktemp("bus")) as running_bus:
        yield running_bus


@pytest.fixture
def store(serve_tiny, tmp_path) -> ModelStore:
    """Declare a tiny model with prefixes, whose `w8` counts as good enough here."""
    store = serve_tiny(dims=64, options={"query_prefix": "the "})
    kept = Tunings(tmp_path / "cache", this_host(), runtime_version())
    kept.add_quality(store.ensure("tiny"), "w8", Quality(1, 1, 1, ndcg_lost=0))
    return store


def settings_of(bus: Bus, folder: Path, **changes) -> Settings:
    """Return the service's settings."""
    return Settings(
        data_dir=folder / "data",
        kafka=KafkaSettings(bootstrap=bus.bootstrap, generation=bus.generation),
        grpc=GrpcSettings(listen=f"unix:{folder}/embed.sock"),
        **changes,
    )


async def start(bus: Bus, folder: Path, **changes) -> None:
    """Start the service and stop it again when its model is served; raises what keeps it from starting."""
    settings = settings_of(bus, folder, **changes)
    stopping = asyncio.Event()

    async def built(settings: Settings, chassis: Chassis) -> Service:
        service = await build(settings, chassis)
        load = service.before_ready
        assert load is not None

        async def load_and_stop() -> None:
            await load()
            stopping.set()

        return replace(service, before_ready=load_and_stop)

    async with asyncio.timeout(60):
        await serve(settings, built, stopping)


async def test_another_variant_is_refused_until_it_is_named(bus, tmp_path, store):
    """fp32 and then w8 over the same documents: the refusal holds the setting that permits it."""
    await start(bus, tmp_path)
    with pytest.raises(CannotStart, match="VARIANT=fp32") as refused:
        await start(bus, tmp_path, variant="w8")
    await start(bus, tmp_path)
    label = f"w8@{store.ensure('tiny').sha256[:12]}"
    assert f"NEW_VECTOR_SPACE={label}" in str(refused.value)
    await start(bus, tmp_path, variant="w8", new_vector_space=label)
    await start(bus, tmp_path, variant="w8")


async def test_another_prefix_makes_other_vectors(bus, tmp_path, store, serve_tiny):
    """Under the same name and variant: what the roles put in front of a text is part of the model's hash."""
    assert store.ensure("tiny")
    await start(bus, tmp_path)
    serve_tiny(dims=64, options={"query_prefix": "a "})
    with pytest.raises(CannotStart, match="give back the manifest"):
        await start(bus, tmp_path)


async def test_nothing_is_answered_before_the_vectors_are_known_to_be_the_same(bus, tmp_path, store):
    """A database that is waited for holds up the check, when the model is loaded and RPCs are heard already."""
    await start(bus, tmp_path)
    settings = settings_of(bus, tmp_path, variant="w8")
    loaded = asyncio.Event()

    async def built(settings: Settings, chassis: Chassis) -> Service:
        service = await build(settings, chassis)
        load = service.before_ready
        assert load is not None
        (database,) = (tmp_path / "data").rglob("*.db")

        async def load_while_another_writes() -> None:
            with closing(sqlite3.connect(database, isolation_level=None)) as another:
                another.execute("BEGIN IMMEDIATE")
                loading = asyncio.create_task(load())
                await refused_for_a_while(settings)
                loaded.set()
            await loading

        return replace(service, before_ready=load_while_another_writes)

    with pytest.raises(CannotStart):
        async with asyncio.timeout(60):
            await serve(settings, built, asyncio.Event())
    assert loaded.is_set()


async def refused_for_a_while(settings: Settings) -> None:
    """Ask for two seconds, in which a tiny model is long loaded; no answer may hold vectors."""
    peer = Peer("embed", settings.grpc.listen)
    stub, request = pb_grpc.EmbedServiceStub(peer.channel), pb.EmbedRequest(texts=["x"], priority=pb.PRIORITY_QUERY)
    for _ in range(20):
        context = CallContext("acme", ("everyone",), datetime.now(UTC) + timedelta(seconds=1), "r1")
        with pytest.raises(Unavailable):
            await peer.call(stub.Info, pb.InfoRequest(), context)
        with pytest.raises(Unavailable):
            await peer.call(stub.Embed, request, context)
        await asyncio.sleep(0.1)
    await peer.close()
