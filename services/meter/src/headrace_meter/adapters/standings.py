"""How budgets stand, out of SQL: reads accounts, never sums usage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace_storage import Database
from sqlalchemy import Table, select
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
            budgets = sorted((budget_of(row) for row in rows.mappings()), key=lambda one: one.name)
            return [
                standing_of(budget, await _accounts(connection, budget, today, accounts_max), today)
                for budget in budgets
            ]


async def _accounts(connection: AsyncConnection, budget: Budget, today: Purpose, accounts_max: int) -> list[Account]:
    period = today.period(budget.period)
    if budget.counts_whole_month:
        return await _read(connection, ACCOUNTS, tenant=budget.tenant, period=period)
    found = {"tenant": budget.tenant, "period": period, "budget": budget.name}
    return await _read(connection, BUDGET_ACCOUNTS, **found, limit=accounts_max)


async def _read(connection: AsyncConnection, table: Table, *, limit: int = 1, **values: str) -> list[Account]:
    columns: Any = table.c
    fullest = (columns.spent_picos + columns.reserved_picos).desc()
    query = select(table).where(*(columns[name] == value for name, value in values.items())).order_by(fullest)
    rows = await connection.execute(query.limit(limit))
    return [Account(**row._mapping) for row in rows]  # noqa: SLF001 - public
