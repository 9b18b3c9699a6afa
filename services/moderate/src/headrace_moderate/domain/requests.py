"""The life of a request: registered, then admitted, following or refused, and at last decided, once.

The first decision wins. What happens when an outcome meets a request is one pure function, `conclude`; rows, topics and
clocks are left to others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from headrace_moderate.domain.identifiers import clean_identifier

OutcomeKind = Literal["answered", "refused", "expired", "failed"]
Style = Literal["", "written", "quoted"]

DEFAULT_PATIENCE = timedelta(seconds=120)  # the deadline of a request that names none
LONGEST_PATIENCE = timedelta(hours=1)  # a deadline further away is brought here, so that no request is open for ever


@dataclass(frozen=True, slots=True)
class Citation:
    """A span of a document's stored text: `text[start:end] == quote`, in Unicode code points; `page` 0 where none."""

    document: str
    version: int
    start: int
    end: int
    quote: str
    page: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens over all attempts of a request."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    embedding_tokens: int = 0
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended. `detail` is for people and holds no prompt or document text."""

    kind: OutcomeKind
    reason: str = ""
    detail: str = ""
    answer: str = ""
    style: Style = ""
    citations: tuple[Citation, ...] = ()
    usage: Usage = Usage()
    model: str = ""
    late: bool = False
    timings_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Query:
    """A question as its producer published it."""

    question: str
    conversation_id: str = ""
    feature: str = ""
    model: str = ""
    passages_max: int = 0
    wait_for: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Arrival:
    """What came with the question: who asks, when, until when, and the event that brought it."""

    event_id: str
    request_id: str
    tenant: str
    published_at: datetime
    auth_id: str = ""
    deadline: datetime | None = None
    idempotency_key: str = ""
    priority: int = 0
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Admission:
    """What goes on to retrieval: the question as the input rails left it, and as whom to search."""

    query: Query
    principals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """The one outcome, what brought it (an event id, or a name of our own), and when."""

    outcome: Outcome
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Request:
    """One request of one tenant, by (tenant, request id).

    It is open until it has a decision. An open one is either admitted or follows the first request with its
    idempotency key, whose outcome it will copy.
    """

    tenant: str
    request_id: str
    event_id: str
    body_sha256: str
    question_sha256: str
    question_bytes: int
    published_at: datetime
    registered_at: datetime
    deadline: datetime
    auth_id: str = ""
    idempotency_key: str = ""
    priority: int = 0
    traceparent: str = ""
    conversation_id: str = ""
    feature: str = ""
    admission: Admission | None = None
    follows: str = ""
    decision: Decision | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """The request had no outcome and now has this one."""

    request: Request


@dataclass(frozen=True, slots=True)
class Repeated:
    """What decided the request came again: its stored outcome stands, and is repeated where it may be lost."""

    request: Request


@dataclass(frozen=True, slots=True)
class TooLate:
    """The request has another outcome already; this one is audited and nothing else."""

    request: Request
    outcome: Outcome


Conclusion = Decided | Repeated | TooLate


def register(query: Query, arrival: Arrival, principals: Sequence[str], *, now: datetime) -> Request:
    """Return the row of a question that arrived; it is neither admitted nor decided yet."""
    question = query.question.encode("utf-8", "surrogatepass")
    return Request(
        tenant=clean_identifier(arrival.tenant),
        request_id=clean_identifier(arrival.request_id),
        event_id=arrival.event_id,
        body_sha256=body_sha256(query, principals),
        question_sha256=hashlib.sha256(question).hexdigest(),
        question_bytes=len(question),
        published_at=min(arrival.published_at, now),
        registered_at=now,
        deadline=_deadline(arrival, now),
        auth_id=clean_identifier(arrival.auth_id),
        idempotency_key=clean_identifier(arrival.idempotency_key),
        priority=arrival.priority,
        traceparent=arrival.traceparent,
        conversation_id=clean_identifier(query.conversation_id),
        feature=clean_identifier(query.feature),
    )


def conclude(request: Request, outcome: Outcome, *, by: str, now: datetime) -> Conclusion:
    """Say what an outcome does to a request. Once decided, a request's text is not kept for resubmission."""
    if request.decision is None:
        timed = replace(outcome, timings_ms={**outcome.timings_ms, "total": _milliseconds(now - request.published_at)})
        late = outcome.kind == "answered" and now > request.deadline
        decision = Decision(replace(timed, late=late), by, now)
        return Decided(replace(request, decision=decision, admission=None))
    if request.decision.by == by:
        return Repeated(request)
    return TooLate(request, outcome)


def erased(request: Request) -> Request:
    """Return a decided request without the texts of its outcome; how it ended stays."""
    if request.decision is None:
        raise ValueError("an open request needs its texts")
    outcome = replace(request.decision.outcome, answer="", citations=())
    return replace(request, decision=replace(request.decision, outcome=outcome))


def copy_for(follower: Request, outcome: Outcome) -> Outcome:
    """Return the first request's outcome for one that follows it; what the first used is not counted twice."""
    detail = f"the outcome of request {follower.follows}, which had the same idempotency key"
    return replace(
        outcome,
        detail=f"{detail}: {outcome.detail}" if outcome.detail else detail,
        usage=Usage(),
        timings_ms={},
    )


def body_sha256(query: Query, principals: Sequence[str]) -> str:
    """Hash what makes two questions the same: all but the request's id, and as whom they are asked.

    Principals are part of it: an idempotency key must not fetch an answer that its asker may not see.
    """
    digest = hashlib.sha256()
    for part in (
        query.question,
        query.conversation_id,
        query.feature,
        query.model,
        str(query.passages_max),
        *(f"{document}@{version}" for document, version in query.wait_for),
        "as",
        *sorted(principals),
    ):
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()


def _deadline(arrival: Arrival, now: datetime) -> datetime:
    asked = arrival.deadline or min(arrival.published_at, now) + DEFAULT_PATIENCE
    return min(asked, now + LONGEST_PATIENCE)


def _milliseconds(duration: timedelta) -> float:
    return round(duration.total_seconds() * 1000, 3)
