"""Declaring budgets: the tenants file as a replica starts with it becomes what every replica books by.

Budgets stand in the ledger's own database, so that all replicas count the same ones from the same transaction on,
whichever file each of them started with: the last one to start decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from headrace_meter.budgets import Budget, BudgetChange, Purpose
from headrace_meter.domain import day_of
from headrace_meter.ports import Clock, Transaction

_Place = tuple[str, str]  # a tenant and the name of a budget of its


async def declare_budgets(budgets: Sequence[Budget], *, transaction: Transaction, clock: Clock) -> None:
    """Make these the budgets, and tell audit of each that came, changed or went; a no-op where they are already.

    A new one counts what was spent in its current period before it was declared, but not what is held at that moment:
    that joins it as it is spent. Another amount, other thresholds, hard or soft: the same account goes on.
    """
    at = clock()
    async with transaction as ledger:
        before = {(one.tenant, one.name): one for one in await ledger.budgets()}
        now = [_counted(one, before.get((one.tenant, one.name)), day_of(at)) for one in budgets]
        opening = [one for one in now if (one.tenant, one.name) not in before and not one.counts_whole_month]
        if changes := _changes(before, {(one.tenant, one.name): one for one in now}, at):
            await ledger.declare(now, opening=opening, changes=changes)


def _counted(budget: Budget, before: Budget | None, today: str) -> Budget:
    if before:
        return replace(budget, counted_from=before.counted_from)
    if budget.counts_whole_month or budget.period == "lifetime":
        return budget  # from the beginning
    return replace(budget, counted_from=Purpose(tenant=budget.tenant, day=today).period(budget.period))


def _changes(before: Mapping[_Place, Budget], now: Mapping[_Place, Budget], at: datetime) -> list[BudgetChange]:
    return [
        BudgetChange(before=before.get(place), after=now.get(place), at=at)
        for place in sorted(before.keys() | now.keys())
        if before.get(place) != now.get(place)
    ]
