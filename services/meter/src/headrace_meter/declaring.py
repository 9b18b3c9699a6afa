"""Declaring budgets: the tenants file as a replica starts with it becomes what every replica books by.

Budgets stand in the ledger's own database, so that all replicas count the same ones from the same transaction on,
whichever file each of them started with: the last one to start decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from headrace_meter.budgets import Budget, Purpose
from headrace_meter.domain import day_of
from headrace_meter.ports import Clock, Transaction


async def declare_budgets(budgets: Sequence[Budget], *, transaction: Transaction, clock: Clock) -> None:
    """Make these the budgets; a no-op where they are already.

    A new one counts what was spent in its current period before it was declared, but not what is held at that moment:
    that joins it as it is spent. Another amount, other thresholds, hard or soft: the same account goes on.
    """
    today = day_of(clock())
    async with transaction as ledger:
        before = {(one.tenant, one.name): one for one in await ledger.budgets()}
        now = [_counted(one, before.get((one.tenant, one.name)), today) for one in budgets]
        opening = [one for one in now if (one.tenant, one.name) not in before and not one.counts_whole_month]
        if sorted(now, key=_place) != sorted(before.values(), key=_place):
            await ledger.declare(now, opening=opening)


def _counted(budget: Budget, before: Budget | None, today: str) -> Budget:
    if before:
        return replace(budget, counted_from=before.counted_from)
    if budget.counts_whole_month or budget.period == "lifetime":
        return budget  # from the beginning
    return replace(budget, counted_from=Purpose(tenant=budget.tenant, day=today).period(budget.period))


def _place(budget: Budget) -> tuple[str, str]:
    return (budget.tenant, budget.name)
