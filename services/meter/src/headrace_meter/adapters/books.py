"""The books of every tenant's months and budgets, summed from the ledger's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from headrace_storage import Database
from sqlalchemy import Select, and_, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace_meter.adapters.budget_books import budget_books
from headrace_meter.adapters.rows import microseconds_of
from headrace_meter.adapters.tables import ACCOUNTS, CHARGES, MONTH_COUNTS, OUTCOMES, RESERVATIONS, UNRATED, USAGES
from headrace_meter.conservation import Books

Key = tuple[str, str]
"""A tenant and a month."""

# The month of a usage's day. Literals: PostgreSQL must see that what is selected is what is grouped by.
_MONTH = func.substr(USAGES.c.day, literal_column("1"), literal_column("7"))
_SAME_CHARGED = and_(USAGES.c.tenant == CHARGES.c.tenant, USAGES.c.usage_id == CHARGES.c.usage_id)
_SAME_UNRATED = and_(USAGES.c.tenant == UNRATED.c.tenant, USAGES.c.usage_id == UNRATED.c.usage_id)


class SqlBookkeeping:
    """Reads every row of the months asked for: about a second a million rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def books(self, since: str) -> Sequence[Books]:
        """Return every tenant's months and its budgets' periods from `since` on."""
        async with self._database.read() as connection:
            accounts = await _by_month(connection, _accounts(since))
            charges = await _by_month(connection, _charges(since))
            counts = await _by_month(connection, _counts(since))
            usages = await _by_month(connection, _usages(since))
            unrated = await _by_month(connection, _unrated(since))
            states: dict[Key, dict[str, int]] = {}
            for tenant, period, state, amount in await connection.execute(_states(since)):
                states.setdefault((tenant, period), {})[state] = int(amount)
            of_budgets = await budget_books(connection, since)
        of_months = [
            Books(
                tenant=key[0],
                period=key[1],
                reserved_picos=accounts.get(key, (0, 0, 0))[0],
                by_state_picos=states.get(key, {}),
                account_reserved_picos=accounts.get(key, (0, 0, 0))[1],
                account_spent_picos=accounts.get(key, (0, 0, 0))[2],
                charged_picos=charges.get(key, (0, 0, 0))[0],
                counted=counts.get(key, (0,))[0],
                charged=charges.get(key, (0, 0, 0))[2],
                usages=usages.get(key, (0,))[0],
                booked=charges.get(key, (0, 0, 0))[1],
                unrated=unrated.get(key, (0,))[0],
            )
            for key in sorted(accounts.keys() | charges.keys() | usages.keys() | states.keys())
        ]
        return [*of_months, *of_budgets]

    async def leaked(self, closed_before: datetime) -> Mapping[str, int]:
        """Count held reservations whose request had its outcome before then. Looks at held ones only: they are few."""
        held, outcome = RESERVATIONS.c, OUTCOMES.c
        query = (
            select(held.tenant, func.count())
            .join(OUTCOMES, and_(outcome.tenant == held.tenant, outcome.request_id == held.request_id))
            .where(
                held.tenant.in_(select(ACCOUNTS.c.tenant).distinct()),  # so that the index by tenant and state serves
                held.state == "held",
                outcome.closed_us < microseconds_of(closed_before),
            )
            .group_by(held.tenant)
        )
        async with self._database.read() as connection:
            return {tenant: int(count) for tenant, count in await connection.execute(query)}


def _accounts(since: str) -> Select[Any]:
    table = ACCOUNTS.c
    sums = (table.reserved_ever_picos, table.reserved_picos, table.spent_picos)
    return select(table.tenant, table.period, *sums).where(table.period >= since)


def _states(since: str) -> Select[Any]:
    table = RESERVATIONS.c
    key = (table.tenant, table.period, table.state)
    return select(*key, func.sum(table.amount_picos)).where(table.period >= since).group_by(*key)


def _charges(since: str) -> Select[Any]:
    sums = (func.sum(CHARGES.c.cost_picos), func.count(CHARGES.c.usage_id.distinct()), func.sum(CHARGES.c.quantity))
    query = select(USAGES.c.tenant, _MONTH, *sums).join(CHARGES, _SAME_CHARGED)
    return query.where(USAGES.c.day >= since).group_by(USAGES.c.tenant, _MONTH)


def _counts(since: str) -> Select[Any]:
    table = MONTH_COUNTS.c
    key = (table.tenant, table.period)
    return select(*key, func.sum(table.quantity)).where(table.period >= since).group_by(*key)


def _usages(since: str) -> Select[Any]:
    return select(USAGES.c.tenant, _MONTH, func.count()).where(USAGES.c.day >= since).group_by(USAGES.c.tenant, _MONTH)


def _unrated(since: str) -> Select[Any]:
    query = select(USAGES.c.tenant, _MONTH, func.count()).join(UNRATED, _SAME_UNRATED)
    return query.where(USAGES.c.day >= since).group_by(USAGES.c.tenant, _MONTH)


async def _by_month(connection: AsyncConnection, query: Select[Any]) -> dict[Key, tuple[int, ...]]:
    # Sums of BIGINT are NUMERIC in PostgreSQL.
    return {(tenant, month): tuple(map(int, sums)) for tenant, month, *sums in await connection.execute(query)}
