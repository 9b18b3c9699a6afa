"""The books of every tenant, summed by the database from the ledger's rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace_storage import Database
from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace_meter.adapters.tables import ACCOUNTS, CHARGES, RESERVATIONS, UNRATED, USAGES
from headrace_meter.conservation import Books

_ACCOUNTS = select(ACCOUNTS.c.tenant, func.sum(ACCOUNTS.c.reserved_picos), func.sum(ACCOUNTS.c.spent_picos)).group_by(
    ACCOUNTS.c.tenant
)
_CHARGES = select(CHARGES.c.tenant, func.sum(CHARGES.c.cost_picos), func.count(CHARGES.c.usage_id.distinct())).group_by(
    CHARGES.c.tenant
)
_USAGES = select(USAGES.c.tenant, func.count()).group_by(USAGES.c.tenant)
_UNRATED = select(UNRATED.c.tenant, func.count()).group_by(UNRATED.c.tenant)
_STATES = select(RESERVATIONS.c.tenant, RESERVATIONS.c.state, func.sum(RESERVATIONS.c.amount_picos)).group_by(
    RESERVATIONS.c.tenant, RESERVATIONS.c.state
)


class SqlBookkeeping:
    """Reads whole tables: about a second a million rows, so it is asked now and then, not at each request."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def books(self) -> Sequence[Books]:
        """Return every tenant's books."""
        async with self._database.read() as connection:
            accounts = await _by_tenant(connection, _ACCOUNTS)
            charges = await _by_tenant(connection, _CHARGES)
            usages, unrated = await _by_tenant(connection, _USAGES), await _by_tenant(connection, _UNRATED)
            states: dict[str, dict[str, int]] = {}
            for tenant, state, amount in await connection.execute(_STATES):
                states.setdefault(tenant, {})[state] = int(amount)
        return [
            Books(
                tenant=tenant,
                reserved_picos=sum(states.get(tenant, {}).values()),
                by_state_picos=states.get(tenant, {}),
                account_reserved_picos=accounts.get(tenant, (0, 0))[0],
                account_spent_picos=accounts.get(tenant, (0, 0))[1],
                charged_picos=charges.get(tenant, (0, 0))[0],
                usages=usages.get(tenant, (0,))[0],
                booked=charges.get(tenant, (0, 0))[1],
                unrated=unrated.get(tenant, (0,))[0],
            )
            for tenant in sorted(accounts.keys() | charges.keys() | usages.keys() | states.keys())
        ]


async def _by_tenant(connection: AsyncConnection, query: Select[Any]) -> dict[str, tuple[int, ...]]:
    # Sums of BIGINT are NUMERIC in PostgreSQL.
    return {tenant: tuple(map(int, numbers)) for tenant, *numbers in await connection.execute(query)}
