"""The topic that generate consumes. What it publishes goes through its outbox, so that handlers return nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Sequence
from datetime import datetime, timedelta
from typing import Any

from headrace import topics
from headrace.request.v1 import request_pb2
from headrace.retrieve.v1 import events_pb2 as retrieve_pb2
from headrace_errors import InvalidMessage
from headrace_messaging import Ending, Event, Outgoing, Subscription
from headrace_runtime import DEADLINE_DEFAULT_S, EmbeddedTokens, end_request

from headrace_generate.abandoning import settle_request
from headrace_generate.adapters.facts import sum_of
from headrace_generate.answering import TermStatistics
from headrace_generate.domain import Attempt, Origin, Query
from headrace_generate.entrypoints.messages import passages_of
from headrace_generate.ports import Journal

Answer = Callable[[Query], Awaitable[Attempt]]
Retrieved = Event[retrieve_pb2.ContextRetrieved]


def subscriptions(
    *,
    answer: Answer,
    journal: Journal,
    embedded: EmbeddedTokens,
    clock: Callable[[], datetime],
    running: Container[str],
) -> list[Subscription]:
    """Return what generate listens to, and what becomes of a message that cannot be handled.

    `running` are the ids of the attempts that this instance makes now.
    """
    end = end_request("generate", embedded)

    async def on_context_retrieved(event: Retrieved) -> Sequence[Outgoing]:
        query = query_of(event)
        await answer(query)
        embedded.take(query.origin.tenant, query.request_id)
        return ()

    async def ended(event: Event[Any], ending: Ending) -> Sequence[Outgoing]:
        (outgoing,) = await end(event, ending)
        payload = outgoing.payload
        if isinstance(payload, request_pb2.RequestEnded):
            # The handler may never have seen this delivery, and no other one follows: what is open is ended here.
            tenant, request_id = event.envelope.tenant, payload.request_id
            made = await settle_request(tenant, request_id, journal=journal, clock=clock, running=running)
            payload.usage.CopyFrom(sum_of(made, embedding_tokens=payload.usage.embedding_tokens))
            payload.model = made[-1].model if made else ""
        return [outgoing]

    return [Subscription(topics.CONTEXT_RETRIEVED, on_context_retrieved, ended=ended)]


def query_of(event: Retrieved) -> Query:
    """Read a query. Raises InvalidMessage where nobody asks or nothing is asked."""
    envelope, context = event.envelope, event.payload
    request_id = context.request_id or envelope.correlation_id or envelope.id
    if not context.principals or not context.question:
        raise InvalidMessage("a context needs a question and its asker's principals")
    origin = Origin(
        event_id=envelope.id,
        tenant=envelope.tenant,
        principals=tuple(context.principals),
        deadline=envelope.deadline or envelope.time + timedelta(seconds=DEADLINE_DEFAULT_S),
        conversation_id=context.conversation_id,
        asker=envelope.auth_id,
        feature=context.feature,
        priority=envelope.priority,
    )
    return Query(
        request_id=request_id,
        question=context.question,
        passages=passages_of(context.passages),
        statistics=TermStatistics(dict(context.document_frequency), context.chunks_total),
        origin=origin,
        model=context.model,
        embedding_tokens=context.embedding_tokens,
        timings_ms=dict(context.timings_ms),
    )
