"""Attempts that began and that nobody ends any more: they become `unknown`, for they may have been billed.

Their usage, audit and reservation follow from that end. An attempt that this instance makes now is never among them;
that of another instance is, once its message came here or its deadline is long past.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import replace
from datetime import datetime, timedelta

from headrace_generate.domain import Attempt
from headrace_generate.ports import Journal

BATCH_MAX = 100  # started attempts looked at in one read


async def abandon(attempt: Attempt, *, journal: Journal, clock: Callable[[], datetime], closing: bool) -> bool:
    """End an attempt of which nobody knows how it went; its reservation stays held. False when it has ended by now."""
    return await journal.finish(
        replace(attempt, state="unknown", ended_at=clock(), reason="owner_gone", closing=closing and not attempt.draft)
    )


async def settle_request(
    tenant: str, request_id: str, *, journal: Journal, clock: Callable[[], datetime], running: Container[str]
) -> tuple[Attempt, ...]:
    """Abandon what a request that ends has left open, and return all of its attempts.

    `running` are the ids of the attempts that this instance makes now: they end by themselves.
    """
    attempts = await journal.attempts(tenant, request_id)
    left = [one for one in attempts if one.state == "started" and one.id not in running]
    for attempt in left:
        await abandon(attempt, journal=journal, clock=clock, closing=False)
    return await journal.attempts(tenant, request_id) if left else attempts


async def sweep(*, journal: Journal, clock: Callable[[], datetime], running: Container[str], grace: timedelta) -> int:
    """Abandon every attempt that is past its deadline by more than `grace`; return how many.

    For those whose message never comes again, calls among them. Every replica may do it at any time: an end is written
    once, under the request's lock. `grace` must be longer than a model call and the store of its end can take.
    """
    abandoned, after = 0, None
    while batch := await journal.started(BATCH_MAX, after=after):
        for attempt in batch:
            if attempt.id not in running and attempt.origin.deadline + grace < clock():
                abandoned += await abandon(attempt, journal=journal, clock=clock, closing=False)
        after = batch[-1]
    return abandoned
