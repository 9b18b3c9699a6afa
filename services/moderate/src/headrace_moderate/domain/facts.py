"""What moderate tells others: a question is admitted, a request is decided, something is to be audited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from headrace_moderate.domain.requests import Admission, Outcome, Request

Disposition = Literal["allowed", "blocked", "observed"]

_DISPOSITIONS: Mapping[str, Disposition] = {"answered": "allowed", "refused": "blocked"}


@dataclass(frozen=True, slots=True)
class Admitted:
    """A question goes on to retrieval."""

    request: Request
    admission: Admission


@dataclass(frozen=True, slots=True)
class Completed:
    """A request has its outcome. Publishing it again makes the same id and the same bytes."""

    request: Request
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Audited:
    """A decision to be recorded: ids, counts and hashes, never text.

    `cause` is what it follows from, an event id or a name of our own: the same action from the same cause is the same
    record, however often it is submitted.
    """

    action: str
    cause: str
    tenant: str
    request_id: str
    disposition: Disposition
    decided_at: datetime
    principal: str = ""
    reason: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    content_sha256: str = ""
    traceparent: str = ""


Fact = Admitted | Completed | Audited


def audit_of(
    request: Request,
    action: str,
    disposition: Disposition,
    *,
    cause: str,
    at: datetime,
    reason: str = "",
    facts: Mapping[str, str] | None = None,
) -> Audited:
    """Return the record of a decision about a request."""
    return Audited(
        action=action,
        cause=cause,
        tenant=request.tenant,
        request_id=request.request_id,
        disposition=disposition,
        decided_at=at,
        principal=request.auth_id,
        reason=reason,
        facts=facts or {},
        content_sha256=request.question_sha256,
        traceparent=request.traceparent,
    )


def audit_of_outcome(request: Request, outcome: Outcome, *, by: str, at: datetime, facts: Mapping[str, str]) -> Audited:
    """Return the record of a request's end."""
    return Audited(
        action=f"request.{outcome.kind}",
        cause=by,
        tenant=request.tenant,
        request_id=request.request_id,
        disposition=_DISPOSITIONS.get(outcome.kind, "observed"),
        decided_at=at,
        principal=request.auth_id,
        reason=outcome.reason,
        facts={**facts, "late": str(outcome.late).lower(), "citations": str(len(outcome.citations))},
        model=outcome.model,
        input_tokens=outcome.usage.input_tokens,
        output_tokens=outcome.usage.output_tokens,
        content_sha256=request.question_sha256,
        traceparent=request.traceparent,
    )
