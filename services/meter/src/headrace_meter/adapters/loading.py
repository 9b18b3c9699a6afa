"""A transaction's working set out of SQL: at most one statement a kind of row, however many are wanted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from headrace_storage import among
from sqlalchemy import Select, and_, case, func, select, union
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace_meter.accounts import Account
from headrace_meter.adapters.rows import budget_of, estimate_of, reservation_of
from headrace_meter.adapters.tables import (
    ACCOUNTS,
    BUDGET_ACCOUNTS,
    BUDGETS,
    CHARGES,
    CREDITS,
    ESTIMATES,
    IS_EMBEDDING,
    MONTH_COUNTS,
    OUTCOMES,
    RESERVATIONS,
    USAGES,
)
from headrace_meter.budgets import AccountKey, Budget, accounts_for
from headrace_meter.domain import CORRECTED, TOLD, AttemptKey, CountKey, Quantities, Reservation, UsageKey
from headrace_meter.facts import RequestKey, Wanted
from headrace_meter.working_set import Booked, Estimate, Outcome, WorkingSet

_CHARGED = and_(CHARGES.c.tenant == USAGES.c.tenant, CHARGES.c.usage_id == USAGES.c.usage_id)
_EMBED = "embed"


async def load(connection: AsyncConnection, wanted: Wanted) -> WorkingSet:
    """Return the rows that are wanted."""
    outcomes = await _outcomes(connection, wanted.requests)
    # Only where the outcome is known does it matter what else is booked and held.
    ending = wanted.closing | outcomes.keys()
    reservations = await _reservations(connection, wanted, ending)
    estimates = await _estimates(connection, wanted.used)
    purposes = wanted.purposes | {one.usage.purpose for one in estimates}
    budgets = await _budgets(connection, {one.tenant for one in purposes})
    accounts = wanted.accounts.union(
        *(accounts_for(purpose, budgets[purpose.tenant]) for purpose in purposes),
        *(one.accounts for one in reservations),
    )
    return WorkingSet(
        costs=await _costs(connection, wanted.usages),
        reservations=reservations,
        budgets=[one for each in budgets.values() for one in each],
        accounts=await _accounts(connection, accounts),
        outcomes=outcomes,
        booked=await _booked(connection, ending),
        counts=await _counts(connection, wanted.counts),
        estimates=estimates,
        known=await _known(connection, wanted.guessed),
        credits_=[
            (row.tenant, row.credit_id) for row in await _found(connection, select(CREDITS), CREDITS, wanted.credits)
        ],
    )


async def _budgets(connection: AsyncConnection, tenants: Collection[str]) -> Mapping[str, Sequence[Budget]]:
    found: dict[str, list[Budget]] = {tenant: [] for tenant in tenants}
    if tenants:
        query = select(BUDGETS).where(among(connection, (BUDGETS.c.tenant,), [(one,) for one in sorted(tenants)]))
        for row in (await connection.execute(query)).mappings():
            found[row["tenant"]].append(budget_of(dict(row)))
    return found


async def _accounts(connection: AsyncConnection, keys: Collection[AccountKey]) -> list[Account]:
    months = {(key.tenant, key.period) for key in keys if not key.budget}
    rows = await _found(connection, select(ACCOUNTS), ACCOUNTS, months)
    rows += await _found(connection, select(BUDGET_ACCOUNTS), BUDGET_ACCOUNTS, {key for key in keys if key.budget})
    return [Account(**row._mapping) for row in rows]  # noqa: SLF001 - public


async def _outcomes(connection: AsyncConnection, requests: Collection[RequestKey]) -> Mapping[RequestKey, Outcome]:
    rows = await _found(connection, select(OUTCOMES), OUTCOMES, requests)
    return {(row.tenant, row.request_id): Outcome(row.attempts, row.embedding_tokens) for row in rows}


async def _reservations(
    connection: AsyncConnection, wanted: Wanted, ending: Collection[RequestKey]
) -> list[Reservation]:
    table, found = RESERVATIONS.c, []
    if wanted.reservations:
        by_id = among(connection, (table.tenant, table.reservation_id), sorted(wanted.reservations))
        found.append(select(RESERVATIONS).where(by_id))
    if ending:
        by_request = among(connection, (table.tenant, table.request_id), sorted(ending))
        found.append(select(RESERVATIONS).where(by_request, table.state == "held"))
    if not found:
        return []
    # A union and not one condition or the other: so each has its index.
    return [reservation_of(dict(row)) for row in (await connection.execute(union(*found))).mappings()]


async def _costs(connection: AsyncConnection, usages: Collection[UsageKey]) -> Mapping[UsageKey, int | None]:
    cost = (
        select(USAGES.c.tenant, USAGES.c.usage_id, func.sum(CHARGES.c.cost_picos).label("picos"))
        .outerjoin(CHARGES, _CHARGED)
        .group_by(USAGES.c.tenant, USAGES.c.usage_id)
    )
    # Sums of BIGINT are NUMERIC in PostgreSQL.
    rows = await _found(connection, cost, USAGES, usages)
    return {(row.tenant, row.usage_id): None if row.picos is None else int(row.picos) for row in rows}


async def _booked(connection: AsyncConnection, requests: Collection[RequestKey]) -> Mapping[RequestKey, Booked]:
    if not requests:
        return {}
    usage = USAGES.c
    query = (
        select(usage.tenant, usage.request_id, usage.operation, usage.attempt_id, IS_EMBEDDING, CHARGES.c.quantity)
        .join(CHARGES, _CHARGED)
        .where(among(connection, (usage.tenant, usage.request_id), sorted(requests)))
    )
    attempts: dict[RequestKey, set[str]] = {}
    embedded: dict[RequestKey, int] = {}
    for tenant, request_id, operation, attempt_id, is_tokens, quantity in await connection.execute(query):
        key = (tenant, request_id)
        attempts.setdefault(key, set()).update([] if operation == _EMBED else [attempt_id])
        embedded[key] = embedded.get(key, 0) + (quantity if is_tokens else 0)
    return {key: Booked(frozenset(ids), embedded[key]) for key, ids in attempts.items()}


async def _counts(connection: AsyncConnection, wanted: Collection[CountKey]) -> Mapping[CountKey, Quantities]:
    if not wanted:
        return {}
    table = MONTH_COUNTS.c
    of_these = among(connection, (table.tenant, table.period, table.model), sorted(wanted))
    found: dict[CountKey, dict[str, int]] = {}
    for row in await connection.execute(select(MONTH_COUNTS).where(of_these)):
        found.setdefault((row.tenant, row.period, row.model), {})[row.meter] = row.quantity
    return found


async def _estimates(connection: AsyncConnection, attempts: Collection[AttemptKey]) -> list[Estimate]:
    if not attempts:
        return []
    table = ESTIMATES.c
    of_these = among(connection, (table.tenant, table.request_id, table.attempt_id), sorted(attempts))
    same = and_(USAGES.c.tenant == table.tenant, USAGES.c.usage_id == table.usage_id)
    query = select(USAGES, table.charges_json).join(ESTIMATES, same).where(of_these).order_by(table.usage_id)
    return [estimate_of(dict(row)) for row in (await connection.execute(query)).mappings()]


async def _known(connection: AsyncConnection, attempts: Collection[AttemptKey]) -> Mapping[AttemptKey, int]:
    if not attempts:
        return {}
    usage = USAGES.c
    key = (usage.tenant, usage.request_id, usage.attempt_id)
    final = (usage.estimated.is_(False), usage.status != "unknown")
    certainty = func.max(case((usage.status == "corrected", CORRECTED), else_=TOLD))
    query = select(*key, certainty).join(CHARGES, _CHARGED).where(among(connection, key, sorted(attempts)), *final)
    rows = await connection.execute(query.group_by(*key))
    return {(tenant, request_id, attempt_id): found for tenant, request_id, attempt_id, found in rows}


async def _found(
    connection: AsyncConnection, query: Select[Any], table: Any, keys: Collection[tuple[str, ...]]
) -> list[Row[Any]]:
    """Return the rows of a query over a table whose primary key is one of `keys`."""
    if not keys:
        return []
    return list(await connection.execute(query.where(among(connection, list(table.primary_key), sorted(keys)))))
