"""Where retrieve's parts meet."""

import asyncio
import time

from headrace_runtime import Chassis, EmbeddedTokens, Service

from headrace_retrieve.adapters.embed_peer import EmbedPeer
from headrace_retrieve.adapters.lance_store import LanceVectorStore
from headrace_retrieve.adapters.lance_table import Upkeep
from headrace_retrieve.entrypoints import grpc, kafka
from headrace_retrieve.entrypoints.retrieval import Retrieval
from headrace_retrieve.handlers import Limits
from headrace_retrieve.ports import VectorStore
from headrace_retrieve.settings import Settings


async def build(settings: Settings, chassis: Chassis) -> Service:
    """Wire the service on the embedded store; it takes work once the store's folder is its own."""
    upkeep = Upkeep(vector_index_rows_min=settings.vector_index_rows_min)
    store = await LanceVectorStore.open(settings.store_dir, upkeep=upkeep)
    embedded = EmbeddedTokens()
    retrieval = Retrieval(
        store=store,
        embedder=EmbedPeer(chassis.peer("embed"), embedded, timeout_s=settings.embed_timeout_s),
        limits=Limits(settings.passages_default, settings.passages_max, settings.wait_for_max),
        waiting=asyncio.Semaphore(settings.waiting_max),
        clock=time.monotonic,
    )

    async def tidy() -> None:
        await _optimise_forever(store, settings.optimise_interval_s)

    return Service(
        subscriptions=[kafka.documents(store=store)],
        waiting_subscriptions=[kafka.questions(store=store, retrieval=retrieval, embedded=embedded)],
        rpcs=[grpc.rpc(retrieval=retrieval)],
        tasks=[tidy],
        closers=[store.close],
    )


async def _optimise_forever(store: VectorStore, interval_s: float) -> None:
    while True:
        await asyncio.sleep(interval_s)
        await store.optimise()
