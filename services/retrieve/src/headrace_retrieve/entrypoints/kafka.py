"""Embedded parts into the store, admitted questions into passages."""

from __future__ import annotations

from collections.abc import Sequence

from headrace import topics
from headrace.embed.v1 import events_pb2 as embed_pb2
from headrace.moderate.v1 import events_pb2 as moderate_pb2
from headrace.retrieve.v1 import events_pb2 as retrieve_pb2
from headrace_messaging import Ending, Event, Outgoing, Subscription, follow
from headrace_runtime import EmbeddedTokens, call_of, end_request

from headrace_retrieve.domain import Tenant
from headrace_retrieve.entrypoints.retrieval import Retrieval
from headrace_retrieve.ports import VectorStore
from headrace_retrieve.wire import deletion_from, part_from, passage_message

CHANGED_STAGE = "retrieve.changed"
CONTEXT_STAGE = "retrieve.context"
_CHANGES = {"indexed": retrieve_pb2.CHANGE_INDEXED, "deleted": retrieve_pb2.CHANGE_DELETED}

ChunksEmbedded = Event[embed_pb2.ChunksEmbedded]
QueryAdmitted = Event[moderate_pb2.QueryAdmitted]


def documents(*, store: VectorStore) -> Subscription:
    """Return the subscription to embedded parts and deletions."""

    async def on_chunks_embedded(event: ChunksEmbedded) -> Sequence[Outgoing]:
        tenant, document = event.envelope.tenant, event.payload.part.document
        if event.payload.part.deleted:
            stored = await store.delete(deletion_from(tenant, event.payload))
        else:
            stored = await store.write(part_from(tenant, event.payload))
        if not stored.announce:
            return ()
        payload = retrieve_pb2.DocumentChanged(
            document=document.document,
            version=document.version,
            change=_CHANGES[stored.outcome],
            chunks=stored.chunks,
        )
        return [follow(event, topics.DOCUMENT_CHANGED, payload, stage=CHANGED_STAGE)]

    return Subscription(topics.CHUNKS_EMBEDDED, on_chunks_embedded, ended=document_failed)


def questions(*, store: VectorStore, retrieval: Retrieval, embedded: EmbeddedTokens) -> Subscription:
    """Return the subscription to admitted questions, which may wait for documents."""

    async def on_query_admitted(event: QueryAdmitted) -> Sequence[Outgoing]:
        asked = event.payload
        call = call_of(event, asked.principals)
        found = await retrieval.find(call, asked.question, limit=asked.passages_max, wait_for=asked.wait_for)
        words = await store.term_statistics(Tenant(call.tenant), asked.question)
        embedded.take(call.tenant, call.request_id)
        payload = retrieve_pb2.ContextRetrieved(
            request_id=call.request_id,
            question=asked.question,
            passages=[passage_message(hit) for hit in found.hits],
            document_frequency=words.document_frequency,
            chunks_total=words.chunks_total,
            principals=asked.principals,
            conversation_id=asked.conversation_id,
            feature=asked.feature,
            model=asked.model,
            embedding_tokens=found.tokens,
            timings_ms={**asked.timings_ms, **found.timings_ms},
        )
        return [follow(event, topics.CONTEXT_RETRIEVED, payload, stage=CONTEXT_STAGE)]

    return Subscription(topics.QUERY_ADMITTED, on_query_admitted, ended=end_request("retrieve", embedded))


async def document_failed(event: ChunksEmbedded, ending: Ending) -> Sequence[Outgoing]:
    """Tell ingest, the owner of the document's status; of a message that nobody can read the dead letter is all."""
    if not event.readable:
        return ()
    document = event.payload.part.document
    payload = retrieve_pb2.DocumentChanged(
        document=document.document,
        version=document.version,
        change=retrieve_pb2.CHANGE_FAILED,
        reason=ending.reason,
        detail=ending.detail,
    )
    return [follow(event, topics.DOCUMENT_CHANGED, payload, stage=CHANGED_STAGE)]
