"""The books of budgets: what their accounts hold and spent, beside the rows that say so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace_meter.accounts import Account, spent_on
from headrace_meter.adapters.declared import declared, spent_since
from headrace_meter.adapters.rows import held_on_of
from headrace_meter.adapters.tables import BUDGET_ACCOUNTS, HOLDS, RESERVATIONS
from headrace_meter.budgets import AccountKey
from headrace_meter.conservation import Books, is_read


async def budget_books(connection: AsyncConnection, since: str) -> Sequence[Books]:
    """Return the books of every account that a declared budget counts, of periods from `since` on.

    A lifetime is read with the whole ledger only. What was held on an account is the sum of reservations that name it;
    what was spent, of the charges that its budget counts.
    """
    budgets = [one for one in await declared(connection) if not one.counts_whole_month]
    if not budgets:
        return []
    spent = await spent_since(connection, since, tenants={one.tenant for one in budgets})
    charged = spent_on(budgets, spent)
    held = await _held(connection, sorted({one.tenant for one in budgets}))
    known = {one.key: one for one in await _accounts(connection, since)}
    counted = {(one.tenant, one.name): one.counted_from for one in budgets}
    return [
        _books(known.get(key) or Account(*key), held.get(key, {}), charged.get(key, 0))
        for key in sorted(charged.keys() | known.keys() | held.keys())
        if (key.tenant, key.budget) in counted
        and key.period >= counted[key.tenant, key.budget]
        and is_read(key.period, since)
    ]


def _books(account: Account, held: Mapping[str, int], charged_picos: int) -> Books:
    return Books(
        tenant=account.tenant,
        period=account.period,
        budget=account.budget,
        subject=account.subject,
        reserved_picos=sum(held.values()),
        by_state_picos=held,
        account_reserved_picos=account.reserved_picos,
        account_spent_picos=account.spent_picos,
        charged_picos=charged_picos,
    )


async def _held(connection: AsyncConnection, tenants: Sequence[str]) -> Mapping[AccountKey, Counter[str]]:
    """Return what is held on accounts of budgets, by state: of open reservations only, which are few."""
    table = RESERVATIONS.c
    columns = (table.tenant, table.state, table.amount_picos, table.held_on_json)
    open_ = (table.tenant.in_(tenants), HOLDS, table.held_on_json != "[]")
    held: dict[AccountKey, Counter[str]] = {}
    for tenant, state, amount, held_on_json in await connection.execute(select(*columns).where(*open_)):
        for key in held_on_of(tenant, held_on_json):
            held.setdefault(key, Counter())[state] += amount
    return held


async def _accounts(connection: AsyncConnection, since: str) -> list[Account]:
    rows = await connection.execute(select(BUDGET_ACCOUNTS).where(BUDGET_ACCOUNTS.c.period >= since))
    return [Account(**row._mapping) for row in rows]  # noqa: SLF001 - public
