"""Let no request stay open for ever: end what every stage lost, settle what waits, and start again on a new bus."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from headrace_moderate.domain.facts import Admitted, audit_of
from headrace_moderate.domain.requests import Outcome, Request
from headrace_moderate.handlers.settle import settle, settle_follower
from headrace_moderate.ports import Clock, Observer, Requests, Transaction

BATCH_MAX = 100  # requests a transaction
GRACE = timedelta(seconds=60)  # how long past its deadline a request may wait for a stage to end it

_Step = Callable[[Transaction], Awaitable[int]]


async def sweep(*, requests: Requests, clock: Clock, observer: Observer, grace: timedelta = GRACE) -> int:
    """End requests that are past their deadline by more than `grace`, and settle followers left behind.

    Returns how many it decided.
    """

    async def expire(transaction: Transaction) -> int:
        now = clock()
        overdue = await transaction.overdue(now - grace, BATCH_MAX)
        for found in overdue:
            request = await transaction.find(found.tenant, found.request_id)
            if request is None or request.decision:  # settled just now, as the follower of another one here
                continue
            outcome = Outcome("expired", "expired", "no stage ended the request by its deadline")
            await settle(transaction, request, outcome, by="sweep", now=now, observer=observer)
        return len(overdue)

    async def adopt(transaction: Transaction) -> int:
        orphans = await transaction.orphans(BATCH_MAX)
        for orphan in orphans:
            first = await transaction.find(orphan.tenant, orphan.follows)
            if first:
                await settle_follower(transaction, orphan, first, now=clock(), observer=observer)
        return len(orphans)

    return await _in_batches(adopt, requests) + await _in_batches(expire, requests)


async def resume_on_bus(*, requests: Requests, clock: Clock, observer: Observer) -> int:
    """Submit every open request again to a bus that has never seen it; end those whose deadline has passed.

    Runs before anything is consumed. It may be cut off at any point: a request is noted as submitted in the transaction
    that submits it. Returns how many requests it met.
    """

    async def resume(transaction: Transaction) -> int:
        now = clock()
        strangers = await transaction.strangers(BATCH_MAX)
        for request in strangers:
            await transaction.settle_on_bus(request)
            await _resume(transaction, request, now=now, observer=observer)
        return len(strangers)

    return await _in_batches(resume, requests)


async def _resume(transaction: Transaction, request: Request, *, now: datetime, observer: Observer) -> None:
    if request.deadline <= now:
        outcome = Outcome("failed", "bus_restarted", "the bus was restarted and the deadline passed meanwhile")
        await settle(transaction, request, outcome, by="bus_restarted", now=now, observer=observer)
    elif request.admission:
        audit = audit_of(request, "request.resubmitted", "observed", cause=_submission(now), at=now)
        await transaction.publish(Admitted(request, request.admission), audit)


async def _in_batches(step: _Step, requests: Requests) -> int:
    total = 0
    while True:
        async with requests.transaction_on_all() as transaction:
            count = await step(transaction)
        total += count
        if count < BATCH_MAX:
            return total


def _submission(now: datetime) -> str:
    return f"bus/{now.isoformat()}"  # each new bus is a fact of its own
