"""The use case of retrieval: wait for what the asker wrote, embed the question, search, fuse.

Storing parts and deletions has no step of its own beyond the port's: entrypoints call the store directly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from headrace_errors import DeadlineExceeded, InvalidMessage, Refused

from headrace_retrieve.domain import DocumentVersion, Hit, Query, Scope, candidates_for, fuse
from headrace_retrieve.ports import Clock, QueryEmbedder, VectorStore


@dataclass(frozen=True, slots=True)
class Limits:
    """How many passages a query gets: `default` when it asks for 0, at most `hits_max`; and what it may wait for."""

    default: int = 6
    hits_max: int = 100
    wait_for_max: int = 100

    def hits(self, wanted: int) -> int:
        """Return how many passages a query gets; InvalidMessage when it asks for a negative number or too many."""
        if not 0 <= wanted <= self.hits_max:
            raise InvalidMessage(f"from 1 to {self.hits_max} passages can be asked for")
        return wanted or self.default


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, in whose scope, and with how many seconds left."""

    scope: Scope
    text: str
    hits_wanted: int = 0
    wait_for: Sequence[DocumentVersion] = ()
    remaining_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Found:
    """Hits best first, the tokens that embedding took, and milliseconds by stage."""

    hits: Sequence[Hit]
    tokens: int
    timings_ms: dict[str, float] = field(default_factory=dict)


async def find_passages(
    question: Question,
    *,
    limits: Limits,
    store: VectorStore,
    embed: QueryEmbedder,
    waiting: asyncio.Semaphore,
    clock: Clock,
) -> Found:
    """Find the passages that the scope may see, best first.

    The wait for versions comes first, so that no model runs for a question that expires in it. Raises InvalidMessage
    past the limits, Refused `too_many_waiting` when `waiting` has no permit left for one more that waits,
    DeadlineExceeded when the time is up, Unavailable when the store or the embedder does not answer.
    """
    if not question.text.strip():
        raise InvalidMessage("there is no question", reason="question_empty")
    hits_max, began = limits.hits(question.hits_wanted), clock()
    try:
        async with asyncio.timeout(question.remaining_s):
            await _wait(question, limits, store, waiting)
            waited = clock()
            embedded = await embed(question.text)
            ready = clock()
            query = Query(question.text, embedded.vector, embedded.model, candidates_for(hits_max))
            hits = fuse(await store.candidates(question.scope, query), hits_max)
    except TimeoutError as error:
        raise DeadlineExceeded("the deadline passed during retrieval") from error
    timings = {
        "retrieve.wait": waited - began,
        "retrieve.embed": ready - waited,
        "retrieve.search": clock() - ready,
    }
    return Found(hits, embedded.tokens, {stage: round(seconds * 1000, 3) for stage, seconds in timings.items()})


async def _wait(question: Question, limits: Limits, store: VectorStore, waiting: asyncio.Semaphore) -> None:
    if len(question.wait_for) > limits.wait_for_max:
        raise InvalidMessage(f"at most {limits.wait_for_max} document versions can be waited for")
    if not question.wait_for:
        return
    if waiting.locked():  # queueing for a permit would be one more wait, without a bound
        raise Refused("too many questions wait for documents", reason="too_many_waiting")
    async with waiting:
        await store.reached(question.scope, question.wait_for)
