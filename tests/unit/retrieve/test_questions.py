"""Questions that end in retrieve tell what embedding took."""

import asyncio
from datetime import UTC, datetime

from headrace import topics
from headrace.moderate.v1.events_pb2 import QueryAdmitted
from headrace_errors import Unavailable
from headrace_messaging import Ending, Event, new_envelope
from headrace_retrieve.entrypoints import kafka
from headrace_retrieve.entrypoints.retrieval import Retrieval
from headrace_retrieve.handlers import Limits
from headrace_retrieve.ports import EmbeddedQuery
from headrace_runtime import EmbeddedTokens


class BrokenStore:
    """Has nothing to say after the question was embedded."""

    async def candidates(self, _scope, _query):
        raise Unavailable("no store")


class NotingEmbedder:
    """Notes its tokens, as the peer does."""

    def __init__(self, embedded: EmbeddedTokens) -> None:
        self._embedded = embedded

    def on_behalf_of(self, call):
        async def embed(text):
            self._embedded.note(call.tenant, call.request_id, [text], 4)
            return EmbeddedQuery((1.0,), "m", 4)

        return embed


async def test_a_question_that_ends_after_its_embedding_counts_it():
    """However often it was tried."""
    embedded = EmbeddedTokens()
    store = BrokenStore()
    retrieval = Retrieval(store, NotingEmbedder(embedded), Limits(), asyncio.Semaphore(1), lambda: 0.0)
    subscription = kafka.questions(store=store, retrieval=retrieval, embedded=embedded)
    envelope = new_envelope(topics.QUERY_ADMITTED, source="/test", tenant="acme", correlation_id="r1")
    asked = QueryAdmitted(request_id="r1", question="why?", principals=["everyone"])
    event = Event(envelope, asked, topics.QUERY_ADMITTED, "r1", 0, 0, datetime.now(UTC))
    for _try in range(2):
        await asyncio.gather(subscription.handler(event), return_exceptions=True)
    (ended,) = await subscription.ended(event, Ending("failed", "unavailable", "no store"))
    assert ended.payload.usage.embedding_tokens == 4
