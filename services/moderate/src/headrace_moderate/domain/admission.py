"""Whether a question may go on: who asks, in time, by a sound id. What it says is the rails' matter."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from headrace_moderate.domain.requests import (
    IDENTIFIER_CHARS_MAX,
    Arrival,
    Outcome,
    clean_identifier,
    sound_identifier,
)
from headrace_moderate.domain.verdicts import Raised

_IDENTIFIERS = ("request_id", "tenant", "auth_id", "idempotency_key")


def screen(
    arrival: Arrival, *, tenant_declared: bool, principals: Sequence[str] | None, deadline: datetime, now: datetime
) -> Outcome | None:
    """Return the outcome of a question that must not be considered further, None where it may.

    `principals` are those of the asker, None where the tenant does not know the asker.
    """
    for name in _IDENTIFIERS:
        if not sound_identifier(getattr(arrival, name)):
            detail = f"{name} must be at most {IDENTIFIER_CHARS_MAX} printable characters"
            return Outcome("failed", "invalid_request", detail)
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


def conflict(key: str, first: str) -> Outcome:
    """Return the outcome of a question whose idempotency key was used for another one."""
    detail = f"the idempotency key {key!r} was used with another body, by request {first}"
    return Outcome("refused", "idempotency_conflict", detail)


def _unknown(auth_id: str) -> str:
    if not auth_id:
        return "the header ce_authid is missing and the tenant admits nobody unnamed"
    return f"the principal {auth_id!r} is not declared for the tenant"
