"""Where retrieve's parts meet."""

import asyncio
import time

from headrace_errors import Unavailable
from headrace_runtime import Chassis, EmbeddedTokens, Service
from headrace_telemetry.logs import get_logger

from headrace_retrieve.adapters.embed_peer import EmbedPeer
from headrace_retrieve.adapters.stores import open_store
from headrace_retrieve.entrypoints import grpc, kafka
from headrace_retrieve.entrypoints.retrieval import Retrieval
from headrace_retrieve.handlers import Limits
from headrace_retrieve.ports import VectorStore
from headrace_retrieve.settings import Settings


async def build(settings: Settings, chassis: Chassis) -> Service:
    """Wire the service on the store that the settings name."""
    store = await open_store(settings)
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
        try:
            await store.optimise()
        except Unavailable as away:  # what is left undone is done when it is back
            get_logger().warning("store.upkeep_failed", detail=away.detail)
