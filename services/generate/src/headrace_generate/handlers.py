"""Answering a query: evidence first, then a bounded number of attempts, each reserved, journalled, made and ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from headrace_errors import DeadlineExceeded, Refused, Unavailable

from headrace_generate.abandoning import abandon
from headrace_generate.answering import Evidence, EvidencePolicy, quotes_as_data, select_evidence
from headrace_generate.catalogue import ModelCard
from headrace_generate.domain import Attempt, AttemptFailed, Message, Origin, Query, TokenUse
from headrace_generate.drafting import draft_of
from headrace_generate.ports import Embedder, Journal, Meter, ModelCall, Models, Progress, Rails, ServedModel
from headrace_generate.timings import Timings


class Prompt(Protocol):
    """A versioned template."""

    def render(self, question: str, quotes: tuple[str, ...]) -> tuple[Message, ...]:
        """Return the conversation to send."""


@dataclass(frozen=True)
class Writing:
    """How this instance of the service writes.

    `owner` names the instance: what it has started and not ended, no later one will. `wait` sleeps between attempts:
    given the model, the attempt that failed, the seconds that a provider asked for, and the deadline. `judged` is told
    of the evidence of every query, enough or not. `running` holds the ids of the attempts that this instance makes now.
    """

    prompts: Callable[[str], Prompt]
    policy: EvidencePolicy
    owner: str
    clock: Callable[[], datetime]
    wait: Callable[[ModelCard, int, float, datetime], Awaitable[None]]
    judged: Callable[[Query, Evidence], None] = lambda _query, _evidence: None
    running: set[str] = field(default_factory=set)

    @contextmanager
    def making(self, attempt: Attempt) -> Iterator[None]:
        """Mark an attempt as made by this instance now; Unavailable where it is already."""
        if attempt.id in self.running:
            raise Unavailable("this request is being answered now")
        self.running.add(attempt.id)
        try:
            yield
        finally:
            self.running.discard(attempt.id)


async def answer_query(
    query: Query,
    *,
    models: Models,
    journal: Journal,
    rails: Rails,
    embedder: Embedder,
    meter: Meter,
    writing: Writing,
    progress: Progress = lambda _tokens: None,
) -> Attempt:
    """Answer a query; return the attempt that ended it, with a draft or as failed. Its events are in the outbox.

    A query that was answered before is not answered again. Its stored events go out once more where the bus forgets
    (the embedded one); one that persists has them already.

    Raises Refused (unknown_model, idempotency_conflict, no_evidence, budget_exceeded, model_unpriced), DeadlineExceeded
    before a model ran, Overloaded while too many wait for the model, and Unavailable while a service that is needed
    does not answer.
    """
    served = models.find(query.model)
    earlier = await settle_earlier(query, served.card.attempts_max, journal=journal, writing=writing)
    if earlier and (earlier[-1].draft or earlier[-1].closing):
        await journal.publish_again(earlier)
        return earlier[-1]
    timings = Timings(query.timings_ms, writing.clock)
    if query.origin.by_call:  # a question of the topic waits in its lane, and went through the rails at its admission
        served.permits.check()
        with timings.stage("rails"):
            question = await rails.question(query.question, query.origin, query.request_id)
        query = replace(query, question=question)
    embed = embedder.on_behalf_of(query.origin, query.request_id)
    with timings.stage("rails"):
        passages = await rails.admit(query.passages, query.origin, query.request_id)
    with timings.stage("evidence"):
        evidence = await select_evidence(query.question, passages, query.statistics, embed=embed, policy=writing.policy)
    writing.judged(query, evidence)
    if not evidence.sufficient:
        raise Refused("the documents found do not answer the question", reason="no_evidence")
    task = _Task(query, served, evidence, timings, query.embedding_tokens + embed.tokens)
    for number in range(len(earlier) + 1, served.card.attempts_max + 1):
        attempt = await make_attempt(task, number, journal=journal, meter=meter, writing=writing, progress=progress)
        if attempt.draft or attempt.closing:
            return attempt
    raise Unavailable("every attempt was cut short")  # only by a stop of this instance: the next one goes on


def _same_asker(one: Origin, other: Origin) -> bool:
    return (one.asker, set(one.principals)) == (other.asker, set(other.principals))


@dataclass(frozen=True)
class _Task:
    """A query whose evidence is found."""

    query: Query
    served: ServedModel
    evidence: Evidence
    timings: Timings
    embedding_tokens: int


async def settle_earlier(query: Query, attempts_max: int, *, journal: Journal, writing: Writing) -> tuple[Attempt, ...]:
    """Return the attempts made before. What nobody makes any more is unknown: it may have been billed.

    That is what another instance left open, for its messages are ours now, and what this one began and could not end.
    Raises Refused (idempotency_conflict) where another asker made them, who may read what this one may not.
    """
    earlier = await journal.attempts(query.origin.tenant, query.request_id)
    if earlier and not _same_asker(earlier[-1].origin, query.origin):
        raise Refused("another asker's request has this id: choose a new one", reason="idempotency_conflict")
    if earlier and earlier[-1].state == "started":
        if earlier[-1].id in writing.running:
            raise Unavailable("this request is being answered now")
        await abandon(earlier[-1], journal=journal, clock=writing.clock, closing=len(earlier) >= attempts_max)
        return await journal.attempts(query.origin.tenant, query.request_id)
    return earlier


async def make_attempt(
    task: _Task, number: int, *, journal: Journal, meter: Meter, writing: Writing, progress: Progress
) -> Attempt:
    """Make one attempt: permit, deadline, reservation, journal, model, journal."""
    query, card = task.query, task.served.card
    quotes = quotes_as_data(task.evidence, quotes_max=card.quotes_max)
    messages = writing.prompts(card.prompt).render(query.question, quotes)
    async with task.served.permits.until(query.origin.deadline):
        now = writing.clock()
        if now >= query.origin.deadline:
            raise DeadlineExceeded("the deadline passed before the model was asked")
        attempt = Attempt(
            query.origin,
            query.request_id,
            number,
            writing.owner,
            card.name,
            card.provider,
            now,
            embedding_tokens=task.embedding_tokens,
        )
        with writing.making(attempt):
            await _start(task, attempt, messages, journal=journal, meter=meter)
            ended, retry_after_s = await _run(
                task, attempt, messages, journal=journal, writing=writing, progress=progress
            )
    if ended.state in {"failed", "unknown"} and not ended.closing:
        await writing.wait(card, number, retry_after_s, query.origin.deadline)
    return ended


async def _start(
    task: _Task, attempt: Attempt, messages: tuple[Message, ...], *, journal: Journal, meter: Meter
) -> None:
    """Reserve an attempt and enter it; what is held for one that could not be entered is given back."""
    try:
        with task.timings.stage("reserve"):
            await meter.reserve(
                attempt,
                input_tokens=task.served.engine.count_tokens(messages),
                output_tokens=task.served.card.output_tokens_max,
            )
        entered = await journal.start(attempt)
    except Refused:
        raise  # by meter: nothing is held
    except BaseException:
        await asyncio.shield(meter.release(attempt))
        raise
    if not entered:  # the attempt is another instance's, and so is its reservation, which has the same id
        raise Unavailable("another instance answers this request")


async def _run(
    task: _Task,
    attempt: Attempt,
    messages: tuple[Message, ...],
    *,
    journal: Journal,
    writing: Writing,
    progress: Progress,
) -> tuple[Attempt, float]:
    """Call the model and store how it ended, whatever happens; return it, and the wait that a provider asked for."""
    card, seen = task.served.card, _Seen(progress)
    call = ModelCall(
        attempt.id,
        attempt.request_id,
        attempt.number,
        messages,
        card.output_tokens_max,
        task.query.origin.deadline,
        task.query.constraint,
    )

    async def end(**changes: object) -> Attempt:
        ended = replace(attempt, ended_at=writing.clock(), **changes)  # type: ignore[arg-type] # fields of Attempt
        if not await asyncio.shield(journal.finish(ended)):
            raise Unavailable("another instance holds this request now")
        return ended

    try:
        with task.timings.stage("model"):
            written = await task.served.engine.generate(call, seen)
    except AttemptFailed as failure:
        closing = not failure.retry or attempt.number >= card.attempts_max
        state = "unknown" if failure.unknown else "failed"
        ended = await end(state=state, used=failure.used, reason=failure.reason, closing=closing)
        return ended, failure.retry_after_s
    except asyncio.CancelledError:
        used = TokenUse(task.served.engine.count_tokens(messages), seen.tokens, estimated=True)
        await end(state="cancelled", used=used, reason="cancelled")
        raise
    except Exception as error:
        await end(state="failed", reason="expired" if isinstance(error, DeadlineExceeded) else type(error).__name__)
        raise
    if task.query.constraint and written.finish_reason != "stop":  # a beginning may look whole: 18 of 1889
        return await end(state="failed", used=written.used, reason="output_unfinished", closing=True), 0.0
    try:
        draft = draft_of(task.query, card, task.evidence, task.timings, written)
    except Exception as error:  # a bug, but the model has been paid for, and writes the same again
        await end(state="failed", used=written.used, reason=type(error).__name__, closing=True)
        raise
    if draft is None:  # the same model would write the same again
        return await end(state="failed", used=written.used, reason="output_unsupported", closing=True), 0.0
    return await end(state="completed", used=written.used, draft=draft), 0.0


class _Seen:
    """Remembers how far the model was, for a call that is cut short."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.tokens = 0

    def __call__(self, tokens: int) -> None:
        self.tokens = tokens
        self._progress(tokens)
