"""Every tenant's requests, counted by the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from headrace_storage import Database
from sqlalchemy import ColumnElement, and_, case, func, select

from headrace_moderate.adapters.tables import REQUESTS, microseconds
from headrace_moderate.conservation import Balance


class SqlCounting:
    """Reads the whole table: about a second a million rows, so it is asked now and then, not at each request."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def balances(self, due_before: datetime) -> Sequence[Balance]:
        """Count every tenant's requests."""
        row = REQUESTS.c
        decided = and_(row.outcome_kind.is_not(None), row.outcome.is_not(None), row.decided_us.is_not(None))
        waiting = and_(row.outcome_kind.is_(None), row.deadline_us >= microseconds(due_before))
        query = (
            select(row.tenant, func.count(), _count(decided), _count(waiting)).group_by(row.tenant).order_by(row.tenant)
        )
        async with self._database.read() as connection:
            return [
                Balance(tenant=tenant, registered=int(registered), decided=int(whole), waiting=int(open_))
                for tenant, registered, whole, open_ in await connection.execute(query)
            ]


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))
