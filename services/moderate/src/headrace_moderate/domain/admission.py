"""Whether a question may go on: who asks, in time, by a sound id. What it says is the rails' matter."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from headrace_moderate.domain.identifiers import (
    IDENTIFIER_BYTES_MAX,
    IDENTIFIER_CHARS_MAX,
    clean_identifier,
    sound_identifier,
)
from headrace_moderate.domain.requests import Arrival, Outcome, Query
from headrace_moderate.domain.verdicts import Raised

PASSAGES_MAX = 100
WAIT_FOR_MAX = 64  # document versions a question may wait for


def screen(
    query: Query,
    arrival: Arrival,
    *,
    tenant_declared: bool,
    principals: Sequence[str] | None,
    deadline: datetime,
    now: datetime,
) -> Outcome | None:
    """Return the outcome of a question that must not be considered further, None where it may.

    `principals` are those of the asker, None where the tenant does not know the asker.
    """
    if malformed := _malformed(query, arrival):
        return Outcome("failed", "invalid_request", malformed)
    if not arrival.tenant:
        return Outcome("refused", "unknown_tenant", "the header ce_tenant is missing")
    if not tenant_declared:
        return Outcome("refused", "unknown_tenant", f"the tenant {clean_identifier(arrival.tenant)!r} is not declared")
    if not principals:
        return Outcome("refused", "unknown_principal", _unknown(arrival.auth_id))
    if deadline <= now:
        return Outcome("expired", "expired", f"the deadline {deadline.isoformat()} had passed when the question came")
    return None


def refusal(finding: Raised, subject: str) -> Outcome:
    """Return the outcome of a text that a rail blocks; `subject` says which text, for people."""
    detail = f"the {subject} was blocked by the rail {finding.rail}: {finding.code} at {finding.start} to {finding.end}"
    return Outcome("refused", finding.reason, detail)


def unpriced(why: str) -> Outcome:
    """Return the outcome of a question to a model without a price; `why` is for people."""
    return Outcome("refused", "model_unpriced", why)


def conflict(key: str, first: str) -> Outcome:
    """Return the outcome of a question whose idempotency key was used for another one."""
    detail = f"the idempotency key {key!r} was used with another body, by request {first}"
    return Outcome("refused", "idempotency_conflict", detail)


def _malformed(query: Query, arrival: Arrival) -> str:
    identifiers = {
        "request_id": arrival.request_id,
        "ce_tenant": arrival.tenant,
        "ce_authid": arrival.auth_id,
        "ce_idempotencykey": arrival.idempotency_key,
        "conversation_id": query.conversation_id,
        "feature": query.feature,
        "model": query.model,
    }
    for name, value in identifiers.items():
        if not sound_identifier(value):
            limits = f"{IDENTIFIER_CHARS_MAX} printable characters in {IDENTIFIER_BYTES_MAX} bytes"
            return f"{name} must be at most {limits}"
    if not 0 <= query.passages_max <= PASSAGES_MAX:
        return f"passages_max must be 0 to {PASSAGES_MAX}"
    if len(query.wait_for) > WAIT_FOR_MAX or any(version < 1 for _, version in query.wait_for):
        return f"wait_for must name at most {WAIT_FOR_MAX} versions, each from 1"
    return ""


def _unknown(auth_id: str) -> str:
    if not auth_id:
        return "the header ce_authid is missing and the tenant admits nobody unnamed"
    return f"the principal {auth_id!r} is not declared for the tenant"
