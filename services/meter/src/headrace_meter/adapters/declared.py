"""What is declared, in SQL: the budgets that every replica goes by, and how the accounts of new ones begin."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from headrace_storage import among, insert_all, upsert_all
from sqlalchemy import Select, and_, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace_meter.accounts import Account, opened
from headrace_meter.adapters.rows import budget_account_row, budget_of, budget_row
from headrace_meter.adapters.tables import BUDGET_ACCOUNTS, BUDGETS, CHARGES, USAGES
from headrace_meter.budgets import AccountKey, Budget, Purpose

_PURPOSE = (USAGES.c.tenant, USAGES.c.day, USAGES.c.feature, USAGES.c.operation, USAGES.c.model, USAGES.c.principal)
_SAME = and_(USAGES.c.tenant == CHARGES.c.tenant, USAGES.c.usage_id == CHARGES.c.usage_id)


async def declared(connection: AsyncConnection) -> Sequence[Budget]:
    """Return every budget."""
    return [budget_of(dict(row)) for row in (await connection.execute(select(BUDGETS))).mappings()]


async def declare(connection: AsyncConnection, budgets: Sequence[Budget], *, opening: Sequence[Budget]) -> None:
    """Keep these budgets and no others. Those that open read their tenants' usage since their periods began."""
    await connection.execute(delete(BUDGETS))
    await insert_all(connection, BUDGETS, [budget_row(one) for one in budgets])
    if opening:
        spent = await spent_since(
            connection, min(one.counted_from for one in opening), tenants={one.tenant for one in opening}
        )
        accounts = opened(opening, spent, await _accounts(connection))
        await upsert_all(connection, BUDGET_ACCOUNTS, [budget_account_row(one) for one in accounts])


async def spent_since(
    connection: AsyncConnection, since: str, *, tenants: Collection[str]
) -> list[tuple[Purpose, int]]:
    """Return what tenants spent by purpose on days from `since` on (a day or a month; empty: all)."""
    of_tenants = among(connection, (USAGES.c.tenant,), [(one,) for one in sorted(tenants)])
    query = _spent().where(of_tenants, USAGES.c.day >= since)
    # Sums of BIGINT are NUMERIC in PostgreSQL.
    return [
        (Purpose(tenant=tenant, day=day, feature=feature, endpoint=operation, model=model, principal=asker), int(picos))
        for tenant, day, feature, operation, model, asker, picos in await connection.execute(query)
    ]


def _spent() -> Select[Any]:
    return select(*_PURPOSE, func.sum(CHARGES.c.cost_picos)).join(CHARGES, _SAME).group_by(*_PURPOSE)


async def _accounts(connection: AsyncConnection) -> Mapping[AccountKey, Account]:
    rows = await connection.execute(select(BUDGET_ACCOUNTS))
    accounts = [Account(**row._mapping) for row in rows]  # noqa: SLF001 - public
    return {one.key: one for one in accounts}
