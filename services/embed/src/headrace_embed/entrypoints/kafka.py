"""Chunks in, vectors out, on the document's own key and in its order; what cannot be embedded fails its document."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

from headrace import topics
from headrace.embed.v1 import events_pb2
from headrace.ingest.v1 import events_pb2 as ingest_pb2
from headrace_messaging import Ending, Event, Outgoing, Subscription, event_id, follow

from headrace_embed.domain import USAGE_STAGE, Bill, Usage
from headrace_embed.entrypoints.messages import model_message, usage_message, vectors_message
from headrace_embed.handlers import billed, embed_chunks
from headrace_embed.ports import Clock, Embedder

STAGE = "embed"
FAILED_STAGE = "embed.failed"

ChunksCreated = Event[ingest_pb2.ChunksCreated]


KeepUsage = Callable[[Outgoing], Awaitable[None]]
"""Keeps a usage event; returns once nothing can lose it."""


def subscriptions(
    *, embedder: Embedder, keep_usage: KeepUsage, slice_texts_max: int, clock: Clock
) -> list[Subscription]:
    """Return the subscription to ingest's chunks. Vectors go straight to the bus: ingest sends a lost part again."""

    async def on_chunks_created(event: ChunksCreated) -> Sequence[Outgoing]:
        part = event.payload
        if part.deleted:
            return [follow(event, topics.CHUNKS_EMBEDDED, events_pb2.ChunksEmbedded(part=part), stage=STAGE)]
        texts = [chunk.text for chunk in part.chunks]
        tenant = event.envelope.tenant
        used = partial(
            Usage,
            tenant=tenant,
            request_id="",
            document=part.document.document,
            model=embedder.model.name,
            provider=embedder.model.provider,
            started_at=clock(),
        )

        async def keep_failed(bill: Bill) -> None:
            usage = used(id=bill.id, tokens=bill.tokens, ended_at=clock(), status="failed")
            await keep_usage(_usage_event(event, usage))

        async with billed(keep_failed) as bill:
            embedded = await embed_chunks(
                texts, tenant=tenant, slice_texts_max=slice_texts_max, embedder=embedder, bill=bill
            )
            if texts:
                derived = event_id(f"{tenant}/{event.envelope.id}", USAGE_STAGE)  # as follow() derives it
                usage = used(id=bill.usage_id(derived), tokens=sum(embedded.tokens), ended_at=clock())
                await keep_usage(_usage_event(event, usage))
        payload = events_pb2.ChunksEmbedded(
            part=part, vectors=vectors_message(embedded), model=model_message(embedder.model)
        )
        return [follow(event, topics.CHUNKS_EMBEDDED, payload, stage=STAGE)]

    return [Subscription(topics.CHUNKS_CREATED, on_chunks_created, ended=document_failed)]


async def document_failed(event: ChunksCreated, ending: Ending) -> Sequence[Outgoing]:
    """Tell ingest, the owner of the document's status; of a message that nobody can read the dead letter is all."""
    if not event.readable:
        return ()
    document = event.payload.document
    payload = events_pb2.DocumentFailed(
        document=document.document, version=document.version, reason=ending.reason, detail=ending.detail
    )
    return [follow(event, topics.EMBED_DOCUMENT_FAILED, payload, stage=FAILED_STAGE)]


def _usage_event(event: ChunksCreated, usage: Usage) -> Outgoing:
    made = follow(event, topics.USAGE_RECORDED, usage_message(usage), stage=USAGE_STAGE, key=usage.tenant)
    return replace(made, envelope=replace(made.envelope, id=usage.id))
