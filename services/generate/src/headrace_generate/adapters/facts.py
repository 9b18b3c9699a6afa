"""The events that an attempt's end makes known. The same attempt makes the same events, ids and times included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import reduce

from google.protobuf.message import Message
from headrace import topics
from headrace.answer.v1 import answer_pb2
from headrace.audit.v1 import events_pb2 as audit_pb2
from headrace.generate.v1 import events_pb2 as generate_pb2
from headrace.request.v1 import request_pb2
from headrace.usage.v1 import usage_pb2
from headrace_messaging import Outgoing, event_id, new_envelope

from headrace_generate.domain import NOTHING_USED, Attempt, CitedSpan, Draft, TokenUse

SOURCE = "/headrace/generate"
OPERATION = "generate"  # what meter knows an attempt's spending as, reserved and used
STYLES = {"written": answer_pb2.STYLE_WRITTEN, "quoted": answer_pb2.STYLE_QUOTED}


def facts_of(attempt: Attempt, attempts: Sequence[Attempt]) -> list[Outgoing]:
    """Return usage and audit of an ended attempt, and the draft or the end that the request comes to with it.

    `attempts` are all of the request: their sum is what the request used. A request that was made by a call gets its
    answer there.
    """
    made = [
        _event(attempt, topics.USAGE_RECORDED, usage_of(attempt), "usage", key=attempt.origin.tenant),
        _event(attempt, topics.AUDIT_SUBMITTED, audit_of(attempt), "audit", key=attempt.origin.tenant),
    ]
    until = [each for each in attempts if each.number <= attempt.number]
    if attempt.draft and not attempt.origin.by_call:
        made.append(_event(attempt, topics.ANSWER_DRAFTED, draft_of(attempt, attempt.draft, until), "answer-drafted"))
    if attempt.closing and not attempt.origin.by_call:
        made.append(_event(attempt, topics.REQUEST_ENDED, end_of(attempt, until), "ended"))
    return made


def usage_of(attempt: Attempt) -> usage_pb2.UsageRecorded:
    """Return what an attempt used, in disjoint quantities; none where nothing was used or nothing is known."""
    used = attempt.used
    quantities = {
        "input_tokens": used.input_tokens - used.cached_input_tokens,
        "cached_input_tokens": used.cached_input_tokens,
        "output_tokens": used.output_tokens - used.reasoning_tokens,
        "reasoning_tokens": used.reasoning_tokens,
    }
    return usage_pb2.UsageRecorded(
        attempt_id=attempt.id,
        request_id=attempt.request_id,
        tenant=attempt.origin.tenant,
        feature=attempt.origin.feature,
        operation=OPERATION,
        model=attempt.model,
        provider=attempt.provider,
        status=attempt.state,
        quantities=[usage_pb2.Quantity(meter=meter, quantity=count) for meter, count in quantities.items() if count],
        started_at=_text(attempt.started_at),
        ended_at=_text(attempt.ended_at or attempt.started_at),
        estimated=used.estimated,
        reservation_id=attempt.id,
        attempt=attempt.number,
        principal=attempt.origin.asker,
    )


def audit_of(attempt: Attempt) -> audit_pb2.AuditSubmitted:
    """Return the record of a model call: which, for whom, how it ended. No text."""
    return audit_pb2.AuditSubmitted(
        action=f"model.{attempt.state}",
        service="generate",
        tenant=attempt.origin.tenant,
        principal=attempt.origin.asker,
        request_id=attempt.request_id,
        disposition="observed",
        reason=attempt.reason,
        facts={"attempt": str(attempt.number), "attempt_id": attempt.id, "provider": attempt.provider},
        decided_at=_text(attempt.ended_at or attempt.started_at),
        model=attempt.model,
        input_tokens=attempt.used.input_tokens,
        output_tokens=attempt.used.output_tokens,
    )


def draft_of(attempt: Attempt, draft: Draft, attempts: Sequence[Attempt]) -> generate_pb2.AnswerDrafted:
    """Return the draft for moderate."""
    return generate_pb2.AnswerDrafted(
        request_id=attempt.request_id,
        answer=draft.answer,
        citations=[citation_of(span) for span in draft.citations],
        style=STYLES[draft.style],
        usage=sum_of(attempts),
        model=attempt.model,
        attempt=attempt.number,
        finish_reason=draft.finish_reason,
        timings_ms=draft.timings_ms,
    )


def end_of(attempt: Attempt, attempts: Sequence[Attempt]) -> request_pb2.RequestEnded:
    """Return the end of a request that no attempt answered."""
    return request_pb2.RequestEnded(
        request_id=attempt.request_id,
        outcome=answer_pb2.OUTCOME_FAILED,
        reason="unavailable",
        detail=f"attempt {attempt.number} was the last: {attempt.reason}",
        stage="generate",
        usage=sum_of(attempts),
        model=attempt.model,
    )


def sum_of(attempts: Sequence[Attempt], *, embedding_tokens: int = 0) -> answer_pb2.Usage:
    """Return the tokens of all attempts together; at least `embedding_tokens` of embedding.

    Each attempt tells all that embedding took until it, and one that repeats it takes the same: so the most counts.
    """
    used = reduce(TokenUse.__add__, (each.used for each in attempts), NOTHING_USED)
    return answer_pb2.Usage(
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        cached_input_tokens=used.cached_input_tokens,
        embedding_tokens=max([embedding_tokens, *(each.embedding_tokens for each in attempts)]),
        attempts=len(attempts),
    )


def citation_of(span: CitedSpan) -> answer_pb2.Citation:
    """Return a citation as the outcome carries it."""
    return answer_pb2.Citation(
        document=span.document, version=span.version, start=span.start, end=span.end, quote=span.quote, page=span.page
    )


def _event(attempt: Attempt, topic: str, payload: Message, stage: str, *, key: str = "") -> Outgoing:
    """Derive the event's id from the attempt's, which no upgrade of this service changes."""
    origin = attempt.origin
    envelope = new_envelope(
        topic,
        source=SOURCE,
        id=event_id(attempt.id, f"generate.{stage}"),
        time=attempt.ended_at or attempt.started_at,
        tenant=origin.tenant,
        correlation_id=attempt.request_id,
        conversation_id=origin.conversation_id,
        deadline=origin.deadline,
        priority=origin.priority,
        auth_id=origin.asker,
    )
    return Outgoing(topic, key or attempt.request_id, payload, replace(envelope, causation_id=origin.event_id))


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
