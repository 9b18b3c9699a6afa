"""Messages of the contracts as values of this domain, and back. Envelopes are left to the callers."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.answer.v1 import answer_pb2
from headrace.generate.v1 import events_pb2 as generate_pb2
from headrace.moderate.v1 import events_pb2 as moderate_pb2
from headrace.query.v1 import query_pb2
from headrace.request.v1 import request_pb2

from headrace_moderate.domain.requests import Admission, Citation, Outcome, OutcomeKind, Query, Request, Style, Usage

_KINDS: dict[OutcomeKind, answer_pb2.Outcome.ValueType] = {
    "answered": answer_pb2.OUTCOME_ANSWERED,
    "refused": answer_pb2.OUTCOME_REFUSED,
    "expired": answer_pb2.OUTCOME_EXPIRED,
    "failed": answer_pb2.OUTCOME_FAILED,
}
_STYLES: dict[Style, answer_pb2.Style.ValueType] = {
    "": answer_pb2.STYLE_UNSPECIFIED,
    "written": answer_pb2.STYLE_WRITTEN,
    "quoted": answer_pb2.STYLE_QUOTED,
}
_KIND_OF = {number: kind for kind, number in _KINDS.items()}
_STYLE_OF = {number: style for style, number in _STYLES.items()}


def query(message: query_pb2.QueryRequested | moderate_pb2.QueryAdmitted) -> Query:
    """Return a question as its producer put it, or as it was admitted."""
    return Query(
        question=message.question,
        conversation_id=message.conversation_id,
        feature=message.feature,
        model=message.model,
        passages_max=message.passages_max,
        wait_for=tuple((one.document, one.version) for one in message.wait_for),
    )


def draft(message: generate_pb2.AnswerDrafted) -> Outcome:
    """Return the outcome that a draft would be if every rail let it pass."""
    return Outcome(
        kind="answered",
        answer=message.answer,
        style=_STYLE_OF.get(message.style, ""),
        citations=_citations(message.citations),
        usage=_usage(message.usage),
        model=message.model,
        timings_ms=dict(message.timings_ms),
    )


def ended(message: request_pb2.RequestEnded) -> Outcome:
    """Return the outcome that another service asks for; one that says `answered`, or nothing, is a failure."""
    kind = _KIND_OF.get(message.outcome, "failed")
    return Outcome(
        kind="failed" if kind == "answered" else kind,
        reason=message.reason or "unavailable",
        detail=message.detail,
        usage=_usage(message.usage),
        model=message.model,
        timings_ms=dict(message.timings_ms),
    )


def admitted(request: Request, admission: Admission) -> moderate_pb2.QueryAdmitted:
    """Return a question as retrieval gets it."""
    asked = admission.query
    waited = (request.registered_at - request.published_at).total_seconds() * 1000
    return moderate_pb2.QueryAdmitted(
        request_id=request.request_id,
        question=asked.question,
        principals=admission.principals,
        conversation_id=asked.conversation_id,
        feature=asked.feature,
        model=asked.model,
        passages_max=asked.passages_max,
        wait_for=[
            query_pb2.DocumentVersion(document=document, version=version) for document, version in asked.wait_for
        ],
        timings_ms={"admit": round(waited, 3)},
    )


def read_admitted(stored: bytes) -> Admission:
    """Return what `admitted` made a message of."""
    message = moderate_pb2.QueryAdmitted.FromString(stored)
    return Admission(query(message), tuple(message.principals))


def completed(request: Request, outcome: Outcome) -> answer_pb2.AnswerCompleted:
    """Return an outcome as the world gets it."""
    return answer_pb2.AnswerCompleted(
        request_id=request.request_id,
        tenant=request.tenant,
        outcome=_KINDS[outcome.kind],
        reason=outcome.reason,
        detail=outcome.detail,
        style=_STYLES[outcome.style],
        answer=outcome.answer,
        citations=[_citation_message(citation) for citation in outcome.citations],
        usage=_usage_message(outcome.usage),
        model=outcome.model,
        conversation_id=request.conversation_id,
        feature=request.feature,
        late=outcome.late,
        timings_ms=outcome.timings_ms,
    )


def read_completed(stored: bytes) -> Outcome:
    """Return what `completed` made a message of."""
    message = answer_pb2.AnswerCompleted.FromString(stored)
    return Outcome(
        kind=_KIND_OF[message.outcome],
        reason=message.reason,
        detail=message.detail,
        answer=message.answer,
        style=_STYLE_OF[message.style],
        citations=_citations(message.citations),
        usage=_usage(message.usage),
        model=message.model,
        late=message.late,
        timings_ms=dict(message.timings_ms),
    )


def _citations(messages: Iterable[answer_pb2.Citation]) -> tuple[Citation, ...]:
    return tuple(Citation(one.document, one.version, one.start, one.end, one.quote, one.page) for one in messages)


def _citation_message(citation: Citation) -> answer_pb2.Citation:
    return answer_pb2.Citation(
        document=citation.document,
        version=citation.version,
        start=citation.start,
        end=citation.end,
        quote=citation.quote,
        page=citation.page,
    )


def _usage(message: answer_pb2.Usage) -> Usage:
    return Usage(
        input_tokens=message.input_tokens,
        output_tokens=message.output_tokens,
        cached_input_tokens=message.cached_input_tokens,
        embedding_tokens=message.embedding_tokens,
        attempts=message.attempts,
    )


def _usage_message(usage: Usage) -> answer_pb2.Usage:
    return answer_pb2.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_input_tokens=usage.cached_input_tokens,
        embedding_tokens=usage.embedding_tokens,
        attempts=usage.attempts,
    )
