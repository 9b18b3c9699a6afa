"""Give a request its one outcome, whatever brought it, and its followers with it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from headrace_moderate.domain.facts import Completed, audit_of, audit_of_outcome
from headrace_moderate.domain.requests import Decided, Outcome, Repeated, Request, conclude, copy_for
from headrace_moderate.ports import Observer, Transaction

FOLLOWERS_MAX = 100  # settled in the transaction of the first; the sweep settles the rest


async def settle(
    transaction: Transaction,
    request: Request,
    outcome: Outcome,
    *,
    by: str,
    now: datetime,
    observer: Observer,
    facts: Mapping[str, str] | None = None,
) -> None:
    """Decide the request, or repeat its stored outcome, or audit that this one came too late.

    `by` names what brought the outcome: the same cause again is a redelivery, another one is late.
    """
    conclusion = conclude(request, outcome, by=by, now=now)
    if isinstance(conclusion, Decided) and await _decide(transaction, conclusion.request, facts or {}, observer):
        await settle_followers(transaction, conclusion.request, now=now, observer=observer)
    elif isinstance(conclusion, Repeated):
        await repeat(transaction, conclusion.request)
    else:
        late = {"outcome": outcome.kind}
        audit = audit_of(
            request, "request.late_decision", "observed", cause=by, at=now, reason=outcome.reason, facts=late
        )
        await transaction.publish(audit)


async def settle_followers(transaction: Transaction, first: Request, *, now: datetime, observer: Observer) -> None:
    """Give the followers of a decided request copies of its outcome, at most `FOLLOWERS_MAX` of them."""
    for follower in await transaction.open_followers(first.tenant, first.request_id, FOLLOWERS_MAX):
        await settle_follower(transaction, follower, first, now=now, observer=observer)


async def settle_follower(
    transaction: Transaction, follower: Request, first: Request, *, now: datetime, observer: Observer
) -> None:
    """Give one follower a copy of a decided request's outcome."""
    if first.decision is None:
        return
    copy = copy_for(follower, first.decision.outcome)
    conclusion = conclude(follower, copy, by=f"copy/{first.request_id}", now=now)
    if isinstance(conclusion, Decided):
        await _decide(transaction, conclusion.request, {"follows": first.request_id}, observer)


async def repeat(transaction: Transaction, request: Request) -> None:
    """Repeat a decided request's stored outcome to a bus that may have lost it: same id, same bytes."""
    if request.decision is not None:
        await transaction.repeat(Completed(request, request.decision.outcome))


async def tell_again(transaction: Transaction, request: Request) -> None:
    """Publish a decided request's stored outcome again, for whoever asks for it again."""
    if request.decision is not None:
        await transaction.publish(Completed(request, request.decision.outcome))


async def _decide(transaction: Transaction, request: Request, facts: Mapping[str, str], observer: Observer) -> bool:
    decision = request.decision
    if decision is None or not await transaction.decide(request):
        return False
    audit = audit_of_outcome(request, decision.outcome, by=decision.by, at=decision.at, facts=facts)
    await transaction.publish(Completed(request, decision.outcome), audit)
    observer.outcome(decision.outcome.kind, decision.outcome.reason)
    return True
