"""How budgets stand, out of SQL: reads accounts, never sums usage."""

from __future__ import annotations

from collections.abc import Sequence

from headrace_storage import Database
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace_meter.accounts import Account, Standing, standing_of
from headrace_meter.adapters.rows import budget_of
from headrace_meter.adapters.tables import ACCOUNTS, BUDGET_ACCOUNTS, BUDGETS
from headrace_meter.budgets import Budget, Purpose


class SqlBudgetBook:
    """Reads one snapshot; never waits for a writer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def standings(self, tenant: str, day: str, *, accounts_max: int) -> Sequence[Standing]:
        """Return how a tenant's budgets stand, by name."""
        today = Purpose(tenant=tenant, day=day)
        async with self._database.read() as connection:
            rows = await connection.execute(select(BUDGETS).where(BUDGETS.c.tenant == tenant))
            budgets = sorted((budget_of(dict(row)) for row in rows.mappings()), key=lambda one: one.name)
            return [
                standing_of(budget, await _accounts(connection, budget, today, accounts_max), today)
                for budget in budgets
            ]


async def _accounts(connection: AsyncConnection, budget: Budget, today: Purpose, accounts_max: int) -> list[Account]:
    month, other, period = ACCOUNTS.c, BUDGET_ACCOUNTS.c, today.period(budget.period)
    if budget.counts_whole_month:
        query = select(ACCOUNTS).where(month.tenant == budget.tenant, month.period == period)
    else:
        its_own = (other.tenant == budget.tenant, other.period == period, other.budget == budget.name)
        fullest = ((other.spent_picos + other.reserved_picos).desc(), other.subject)
        query = select(BUDGET_ACCOUNTS).where(*its_own).order_by(*fullest).limit(accounts_max)
    return [Account(**row._mapping) for row in await connection.execute(query)]  # noqa: SLF001 - public
