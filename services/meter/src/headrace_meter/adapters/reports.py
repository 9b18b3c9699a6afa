"""Questions to the ledger: sums by group, and how far a request's costs are known."""

from __future__ import annotations

from collections.abc import Sequence

from headrace_storage import Database
from sqlalchemy import Column, ColumnElement, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace_meter.adapters.rows import microseconds_of
from headrace_meter.adapters.tables import (
    ACCOUNTS,
    CHARGES,
    CREDITS,
    HOLDS,
    IS_EMBEDDING,
    OUTCOMES,
    RESERVATIONS,
    USAGES,
)
from headrace_meter.domain import RequestProgress
from headrace_meter.ports import Selection, Sum, UsageReport

_COLUMNS = {
    "model": USAGES.c.model,
    "feature": USAGES.c.feature,
    "operation": USAGES.c.operation,
    "principal": USAGES.c.principal,
    "request": USAGES.c.request_id,
    "meter": CHARGES.c.meter,
    "day": USAGES.c.day,
}
_RATED = CHARGES.join(USAGES, and_(USAGES.c.tenant == CHARGES.c.tenant, USAGES.c.usage_id == CHARGES.c.usage_id))
_EMBED = "embed"


class SqlUsageBook:
    """Reads the ledger; never waits for a writer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def report(self, selection: Selection, group_by: Sequence[str], *, sums_max: int) -> UsageReport:
        """Answer one question from one snapshot."""
        async with self._database.read() as connection:
            return UsageReport(
                sums=await _sums(connection, selection, group_by, sums_max),
                usages=await _usages(connection, selection),
                reserved_picos=await _reserved(connection, selection),
                progress=await progress_of(connection, selection.tenant, selection.request_id),
                credits_picos=await _credits(connection, selection),
            )


async def progress_of(connection: AsyncConnection, tenant: str, request_id: str) -> RequestProgress:
    """Return what is known of a request; nothing before its outcome, which most usage comes before."""
    outcome = select(OUTCOMES).where(OUTCOMES.c.tenant == tenant, OUTCOMES.c.request_id == request_id)
    known = (await connection.execute(outcome)).one_or_none()
    if known is None:
        return RequestProgress()
    ours = and_(USAGES.c.tenant == tenant, USAGES.c.request_id == request_id)
    attempts = (
        select(func.count(USAGES.c.attempt_id.distinct())).select_from(_RATED).where(ours, USAGES.c.operation != _EMBED)
    )
    tokens = select(func.coalesce(func.sum(CHARGES.c.quantity), 0)).select_from(_RATED).where(ours, IS_EMBEDDING)
    held = select(func.count()).where(
        RESERVATIONS.c.tenant == tenant, RESERVATIONS.c.request_id == request_id, RESERVATIONS.c.state == "held"
    )
    return RequestProgress(
        attempts_expected=known.attempts,
        embedding_tokens_expected=known.embedding_tokens,
        attempts_booked=int((await connection.execute(attempts)).scalar_one()),
        embedding_tokens_booked=int((await connection.execute(tokens)).scalar_one()),
        attempts_held=int((await connection.execute(held)).scalar_one()),
    )


async def _sums(
    connection: AsyncConnection, selection: Selection, group_by: Sequence[str], sums_max: int
) -> Sequence[Sum]:
    names = [_COLUMNS[name] for name in group_by]
    # The meter always separates, for quantities of different meters have no sum.
    separating = names if "meter" in group_by else [*names, CHARGES.c.meter]
    query = (
        select(*separating, CHARGES.c.meter, func.sum(CHARGES.c.quantity), func.sum(CHARGES.c.cost_picos))
        .select_from(_RATED)
        .where(*_conditions(selection))
        .group_by(*separating)
        .order_by(*separating)
        .limit(sums_max + 1)
    )
    rows = (await connection.execute(query)).all()
    return [Sum(tuple(row[: len(names)]), row[-3], int(row[-2]), int(row[-1])) for row in rows]


async def _usages(connection: AsyncConnection, selection: Selection) -> int:
    query = select(func.count(USAGES.c.usage_id.distinct())).select_from(_RATED).where(*_conditions(selection))
    return int((await connection.execute(query)).scalar_one())


async def _reserved(connection: AsyncConnection, selection: Selection) -> int:
    if not selection.request_id:
        query = select(func.coalesce(func.sum(ACCOUNTS.c.reserved_picos), 0)).where(
            ACCOUNTS.c.tenant == selection.tenant
        )
    else:
        query = select(func.coalesce(func.sum(RESERVATIONS.c.amount_picos), 0)).where(
            RESERVATIONS.c.tenant == selection.tenant,
            RESERVATIONS.c.request_id == selection.request_id,
            HOLDS,
        )
    return int((await connection.execute(query)).scalar_one())


async def _credits(connection: AsyncConnection, selection: Selection) -> int:
    if selection.request_id:
        return 0
    within = _within(CREDITS.c.granted_us, selection)
    query = select(func.coalesce(func.sum(CREDITS.c.amount_picos), 0)).where(
        CREDITS.c.tenant == selection.tenant, *within
    )
    return int((await connection.execute(query)).scalar_one())


def _conditions(selection: Selection) -> list[ColumnElement[bool]]:
    conditions = [USAGES.c.tenant == selection.tenant, *_within(USAGES.c.started_us, selection)]
    if selection.request_id:
        conditions.append(USAGES.c.request_id == selection.request_id)
    return conditions


def _within(moment: Column[int], selection: Selection) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if selection.since:
        conditions.append(moment >= microseconds_of(selection.since))
    if selection.before:
        conditions.append(moment < microseconds_of(selection.before))
    return conditions
