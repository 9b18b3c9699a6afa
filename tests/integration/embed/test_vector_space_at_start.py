"""A service that would make other vectors than those it made before does not start, and says what to do."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

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
from headrace_runtime import CallContext, CannotStart, Chassis, Peer, Service, serve


@pytest.fixture
def store(serve_tiny, tmp_path) -> ModelStore:
    """Declare a tiny model with prefixes, whose `w8` counts as good enough here."""
    store = serve_tiny(dims=64, options={"query_prefix": "the "})
    kept = Tunings(tmp_path / "cache", this_host(), runtime_version())
    kept.add_quality(store.ensure("tiny"), "w8", Quality(1, 1, 1, ndcg_lost=0))
    return store


@pytest.fixture
def start(bus, settings_of):
    """Give what starts the service and stops it again when its model is served; raises what keeps it from starting."""

    async def start_and_stop(**changes: str) -> None:
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
            await serve(settings_of(bus, **changes), built, stopping)

    return start_and_stop


async def test_another_variant_is_refused_until_it_is_named(start, store):
    """fp32 and then w8 over the same documents: the refusal holds the setting that permits it."""
    await start()
    with pytest.raises(CannotStart, match="VARIANT=fp32") as refused:
        await start(variant="w8")
    await start()
    label = f"w8@{store.ensure('tiny').sha256[:12]}"
    assert f"NEW_VECTOR_SPACE={label}" in str(refused.value)
    await start(variant="w8", new_vector_space=label)
    await start(variant="w8")


async def test_another_prefix_makes_other_vectors(start, store, serve_tiny):
    """Under the same name and variant: what the roles put in front of a text is part of the model's hash."""
    assert store.ensure("tiny")
    await start()
    serve_tiny(dims=64, options={"query_prefix": "a "})
    with pytest.raises(CannotStart, match="give back the manifest"):
        await start()


async def test_nothing_is_answered_before_vectors_are_known_to_be_the_same(bus, settings_of, start, tmp_path, store):
    """A database that is waited for holds up the check, when the model is loaded and RPCs are heard already."""
    await start()
    settings = settings_of(bus, variant="w8")
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
