"""The outbox relay: publishes stored events in commit order per key, and marks what the bus acknowledged.

A crash between the two sends a row again: the same id and bytes, so that consumers recognise it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from headrace.topics import topics
from headrace_errors import Unavailable
from headrace_telemetry import get_logger
from sqlalchemy import Table, delete, func, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace_messaging.backoff import Backoff
from headrace_messaging.event import Record
from headrace_messaging.metrics import OUTBOX_PENDING
from headrace_messaging.outbox_rows import to_record

_log = get_logger()


class Transactions(Protocol):
    """The database of the service, as headrace_storage.Database opens it."""

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a writing transaction; on SQLite there is one at a time."""
        ...

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a reading transaction."""
        ...


class Sender(Protocol):
    """What publishes a record, as Publisher does."""

    async def send(self, record: Record) -> None:
        """Return when the record is acknowledged; Unavailable when it is not."""
        ...


@dataclass(frozen=True, slots=True)
class RelayOptions:
    """The relay's limits. Sent rows are kept for a while: what is kept can be sent again to a new embedded bus.

    `gather_ms` is how long it lets rows come together before it takes less than a whole batch: it trades their delay
    for fewer transactions beside those of the service.
    """

    batch_rows: int = 256
    poll_ms: int = 1_000
    gather_ms: int = 0
    keep_sent_ms: int = 24 * 3_600_000
    keep_sent_rows: int = 100_000
    prune_interval_ms: int = 60_000
    backoff: Backoff = field(default_factory=Backoff)


class Relay:
    """Relays one outbox; exactly one relay per outbox runs. `wake` after a commit, `stop` to end `run`.

    `generation` is the bus generation. Rows of `inbox` topics sent to an older one are sent again: that log is gone,
    and their consumers recognise repeats. Other rows are not: their owners resubmit from their own state.
    """

    def __init__(
        self,
        database: Transactions,
        table: Table,
        sender: Sender,
        *,
        generation: str,
        options: RelayOptions | None = None,
    ) -> None:
        self._database = database
        self._table = table
        self._sender = sender
        self._generation = generation
        self._options = options or RelayOptions()
        self._awake = asyncio.Event()
        self._stopping = False
        self._failures = 0
        self._pruned_at = time.monotonic()

    def wake(self) -> None:
        """Look for rows now rather than at the next poll."""
        self._awake.set()

    def stop(self) -> None:
        """Ask `run` to return once what is there is relayed, or at the first send that fails."""
        self._stopping = True
        self._awake.set()

    async def pending(self) -> int:
        """Return how many rows are not sent."""
        async with self._database.read() as connection:
            unsent = select(func.count()).select_from(self._table).where(self._table.c.sent_generation.is_(None))
            return int(await connection.scalar(unsent) or 0)

    async def run(self) -> None:
        """Relay until `stop`."""
        await self._reopen_older_generations()
        while True:
            self._awake.clear()
            rows = await self._unsent()
            OUTBOX_PENDING.set(len(rows))
            all_sent = await self._relay(rows)
            if self._stopping and (not rows or not all_sent):
                return
            await self._prune_now_and_then()
            await self._rest(busy=bool(rows), failed=not all_sent)
            if len(rows) < self._options.batch_rows:
                await self._gather()

    async def _rest(self, *, busy: bool, failed: bool) -> None:
        if failed:
            self._failures += 1
            await asyncio.sleep(self._options.backoff.wait_s(self._failures))
            return
        self._failures = 0
        if not busy:
            try:
                async with asyncio.timeout(self._options.poll_ms / 1000):
                    await self._awake.wait()
            except TimeoutError:
                pass

    async def _gather(self) -> None:
        if self._options.gather_ms and not self._stopping:
            await asyncio.sleep(self._options.gather_ms / 1000)

    async def _unsent(self) -> Sequence[Row[Any]]:
        # SQLite has one writer, so the order of the numbers is the order of the commits. On PostgreSQL it is not: there
        # the rows of a chain are to be numbered under a lock on the chain's head, before this query is right.
        columns = self._table.c
        query = select(self._table).where(columns.sent_generation.is_(None)).order_by(columns.seq)
        async with self._database.read() as connection:
            return (await connection.execute(query.limit(self._options.batch_rows))).fetchall()

    async def _relay(self, rows: Sequence[Row[Any]]) -> bool:
        """Send the rows, chains side by side, and mark those acknowledged; False when a chain had to stop."""
        if not rows:
            return True
        chains: dict[int, list[Row[Any]]] = {}
        for row in rows:
            chains.setdefault(row.chain, []).append(row)
        sent = [seq for part in await asyncio.gather(*map(self._send_in_order, chains.values())) for seq in part]
        if sent:
            await self._mark(sent)
        return len(sent) == len(rows)

    async def _send_in_order(self, chain: list[Row[Any]]) -> list[int]:
        sent: list[int] = []
        for row in chain:
            try:
                await self._sender.send(to_record(row))
            except Unavailable as error:
                # The rest of the chain waits: a later row of the key must not overtake this one.
                _log.warning("outbox.waiting", topic=row.topic, reason=error.reason, failures=self._failures)
                break
            sent.append(row.seq)
        return sent

    async def _mark(self, sent: list[int]) -> None:
        columns = self._table.c
        async with self._database.write() as connection:
            await connection.execute(
                update(self._table).where(columns.seq.in_(sent)).values(sent_generation=self._generation)
            )

    async def _reopen_older_generations(self) -> None:
        columns = self._table.c
        repeatable = [topic.name for topic in topics().values() if topic.inbox]
        older = columns.sent_generation.is_not(None) & (columns.sent_generation != self._generation)
        async with self._database.write() as connection:
            reopened = await connection.execute(
                update(self._table).where(older, columns.topic.in_(repeatable)).values(sent_generation=None)
            )
        if reopened.rowcount:
            _log.info("outbox.reopened", rows=reopened.rowcount)

    async def _prune_now_and_then(self) -> None:
        now = time.monotonic()
        if now - self._pruned_at < self._options.prune_interval_ms / 1000:
            return
        self._pruned_at = now
        columns = self._table.c
        oldest_ms = int(time.time() * 1000) - self._options.keep_sent_ms
        newest = select(func.max(columns.seq)).scalar_subquery()
        too_old = (columns.created_at_ms < oldest_ms) | (columns.seq <= newest - self._options.keep_sent_rows)
        async with self._database.write() as connection:
            await connection.execute(delete(self._table).where(columns.sent_generation.is_not(None), too_old))
