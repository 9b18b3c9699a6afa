"""The outbox as its relay sees it: what is unsent, what was sent, and the removal of what is no longer needed.

Rows are found by their state, never by a number past which to look: numbers are given before the commit, so a
transaction that commits late would be overlooked. Within a key the numbers follow the commits where its writers
exclude each other before they add (Database.write with what the key stands for). Where they do not, as with a tenant's
usage, which several requests add at once, a row may overtake one with a lower number that commits later.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from headrace.topics import topics
from headrace_telemetry import get_logger
from sqlalchemy import ColumnElement, Table, delete, func, select, update
from sqlalchemy.engine import Row

from headrace_messaging.transactions import Transactions

_log = get_logger()
_KEY = "outbox"  # settling and pruning exclude each other, and no writer of the service


class OutboxStore:
    """The rows of one outbox. `keep_sent_ms` of 0 removes a row as soon as it is sent.

    Sent rows are worth keeping only for a bus that forgets: those of `inbox` topics are sent again to its next
    generation, because their consumers recognise repeats; the owners of all others resubmit from their own state.
    """

    def __init__(
        self, database: Transactions, rows: Table, *, generation: str, keep_sent_ms: int, keep_sent_rows: int
    ) -> None:
        self._database = database
        self._rows = rows
        self._generation = generation
        self._keep_sent_ms = keep_sent_ms
        self._keep_sent_rows = keep_sent_rows

    async def unsent(self, rows_max: int) -> Sequence[Row[Any]]:
        """Return the oldest unsent rows, in the order in which they were added."""
        columns = self._rows.c
        query = select(self._rows).where(columns.sent_generation.is_(None)).order_by(columns.seq).limit(rows_max)
        async with self._database.read() as connection:
            return (await connection.execute(query)).fetchall()

    async def pending(self) -> int:
        """Return how many rows are not sent."""
        unsent = select(func.count()).select_from(self._rows).where(self._rows.c.sent_generation.is_(None))
        async with self._database.read() as connection:
            return int(await connection.scalar(unsent) or 0)

    async def settle(self, sent: Iterable[int], *, added_until_ms: int | None = None) -> int:
        """Note that rows were sent; return how many were not noted before. Those added later than given stay unsent."""
        columns = self._rows.c
        these: list[ColumnElement[bool]] = [columns.seq.in_(list(sent)), columns.sent_generation.is_(None)]
        if added_until_ms is not None:
            these.append(columns.created_at_ms <= added_until_ms)
        sent_now = (
            update(self._rows).where(*these).values(sent_generation=self._generation)
            if self._keep_sent_ms
            else delete(self._rows).where(*these)
        )
        async with self._database.write(_KEY) as connection:
            return (await connection.execute(sent_now)).rowcount

    async def reopen_older_generations(self) -> None:
        """Make rows that an older bus got, and this one can take again, unsent."""
        columns = self._rows.c
        repeatable = [topic.name for topic in topics().values() if topic.inbox]
        older = columns.sent_generation.is_not(None) & (columns.sent_generation != self._generation)
        async with self._database.write(_KEY) as connection:
            reopened = await connection.execute(
                update(self._rows).where(older, columns.topic.in_(repeatable)).values(sent_generation=None)
            )
        if reopened.rowcount:
            _log.info("outbox.reopened", rows=reopened.rowcount)

    async def prune(self, rows_max: int) -> int:
        """Remove at most so many sent rows that are too old or too many; return how many."""
        columns = self._rows.c
        oldest_ms = int(time.time() * 1000) - self._keep_sent_ms
        newest = select(func.max(columns.seq)).scalar_subquery()
        too_old = (columns.created_at_ms < oldest_ms) | (columns.seq <= newest - self._keep_sent_rows)
        these = select(columns.seq).where(columns.sent_generation.is_not(None), too_old).limit(rows_max)
        async with self._database.write(_KEY) as connection:
            return (await connection.execute(delete(self._rows).where(columns.seq.in_(these)))).rowcount
