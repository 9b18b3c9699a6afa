"""The tables of moderate, and how a request becomes a row. Times are microseconds since 1970, in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

from headrace_moderate import wire
from headrace_moderate.domain.requests import Decision, Request

METADATA = MetaData()

REQUESTS = Table(
    "requests",
    METADATA,
    Column("tenant", String, nullable=False),
    Column("request_id", String, nullable=False),
    Column("event_id", String, nullable=False),
    Column("body_sha256", String(64), nullable=False),
    Column("question_sha256", String(64), nullable=False),
    Column("question_bytes", Integer, nullable=False),
    Column("published_us", BigInteger, nullable=False),
    Column("registered_us", BigInteger, nullable=False),
    Column("deadline_us", BigInteger, nullable=False),
    Column("auth_id", String, nullable=False),
    Column("idempotency_key", String, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("traceparent", String, nullable=False),
    Column("conversation_id", String, nullable=False),
    Column("feature", String, nullable=False),
    Column("follows", String, nullable=False),
    Column("bus_generation", String, nullable=False),  # the bus that it was last submitted to
    Column("admitted", LargeBinary),  # headrace.moderate.v1.QueryAdmitted while the request is open, then nothing
    Column("outcome_kind", String),  # null while the request is open
    Column("outcome", LargeBinary),  # headrace.answer.v1.AnswerCompleted
    Column("decided_by", String),
    Column("decided_us", BigInteger),
    PrimaryKeyConstraint("tenant", "request_id"),
)
Index("requests_open", REQUESTS.c.outcome_kind, REQUESTS.c.deadline_us)
Index("requests_following", REQUESTS.c.tenant, REQUESTS.c.follows)

IDEMPOTENCY_KEYS = Table(
    "idempotency_keys",
    METADATA,
    Column("tenant", String, nullable=False),
    Column("idempotency_key", String, nullable=False),
    Column("request_id", String, nullable=False),
    PrimaryKeyConstraint("tenant", "idempotency_key"),
)

FEEDBACK = Table(
    "feedback",
    METADATA,
    Column("tenant", String, nullable=False),
    Column("event_id", String, nullable=False),
    Column("request_id", String, nullable=False, index=True),
    Column("rating", String, nullable=False),
    Column("correction", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("submitted_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant", "event_id"),
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLAIN = (
    "tenant", "request_id", "event_id", "body_sha256", "question_sha256", "question_bytes", "auth_id",
    "idempotency_key", "priority", "traceparent", "conversation_id", "feature", "follows",
)  # fmt: skip


def microseconds(time: datetime) -> int:
    """Return a time as microseconds since 1970."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def row_of(request: Request) -> dict[str, Any]:
    """Return a request as the columns that describe it, its bus excepted."""
    return {
        **{name: getattr(request, name) for name in _PLAIN},
        "published_us": microseconds(request.published_at),
        "registered_us": microseconds(request.registered_at),
        "deadline_us": microseconds(request.deadline),
        "admitted": wire.admitted(request, request.admission).SerializeToString() if request.admission else None,
        **decision_of(request),
    }


def decision_of(request: Request) -> dict[str, Any]:
    """Return the columns that a decision fills."""
    decision = request.decision
    if decision is None:
        return dict.fromkeys(("outcome_kind", "outcome", "decided_by", "decided_us"))
    completed = wire.completed(request, decision.outcome)
    return {
        "outcome_kind": decision.outcome.kind,
        "outcome": completed.SerializeToString(deterministic=True),
        "decided_by": decision.by,
        "decided_us": microseconds(decision.at),
    }


def request_of(row: Mapping[str, Any]) -> Request:
    """Return the request that a row holds."""
    return Request(
        **{name: row[name] for name in _PLAIN},
        published_at=_time(row["published_us"]),
        registered_at=_time(row["registered_us"]),
        deadline=_time(row["deadline_us"]),
        admission=wire.read_admitted(row["admitted"]) if row["admitted"] is not None else None,
        decision=_decision(row) if row["outcome_kind"] is not None else None,
    )


def _decision(row: Mapping[str, Any]) -> Decision:
    return Decision(wire.read_completed(row["outcome"]), row["decided_by"], _time(row["decided_us"]))


def _time(since_epoch_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=since_epoch_us)
