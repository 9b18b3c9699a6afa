"""The record in SQL: links, heads, inbox and outbox in one database, written in one transaction a delivery.

However many links a transaction appends, it takes the same number of statements.

The primary key (chain, sequence) and the check of the head make an append conditional: a second writer, or one that
was declared dead and is not, fails with ChainMoved instead of forking the chain.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from headrace_messaging import Event, Outgoing
from headrace_messaging.inbox import Inbox, inbox_tables
from headrace_messaging.outbox import Outbox, OutboxRow
from headrace_messaging.tracing import continuing
from headrace_storage import Database
from sqlalchemy import BigInteger, Column, Index, MetaData, String, Table, Text, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace_audit.domain import ChainMoved, Head, Link, chain_of
from headrace_audit.verification import Verification, VerifyReport
from headrace_audit.verify import verify_database

METADATA = MetaData()

LINKS = Table(
    "links",
    METADATA,
    Column("chain", String(64), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("record_id", String(255), nullable=False),
    Column("tenant", String(255), nullable=False),
    Column("request_id", String(255), nullable=False),
    Column("previous_fingerprint", String(64), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("record_json", Text, nullable=False),
    sqlite_with_rowid=False,  # the table is its own primary key: one tree to check, not two
)
Index("links_by_request", LINKS.c.tenant, LINKS.c.request_id)

HEADS = Table(
    "heads",
    METADATA,
    Column("chain", String(64), primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("fingerprint", String(64), nullable=False),
)

INBOX = inbox_tables(METADATA)  # the chassis adds the outbox

_LINKS_A_STEP = 500
_LINK_COLUMNS = [LINKS.c[name] for name in Link.__slots__]


class SqlRecord:
    """The record in a database, which is the SQLite file at `path` where there is one."""

    def __init__(
        self,
        database: Database,
        path: Path | None,
        *,
        inbox: Inbox,
        outbox: Outbox,
        announce: Callable[[Link], Outgoing],
    ) -> None:
        self._database = database
        self._path = path
        self._inbox = inbox
        self._outbox = outbox
        self._announce = announce

    @asynccontextmanager
    async def delivery(self, events: Sequence[Event[Any]]) -> AsyncIterator[SqlAppending]:
        """Open the transaction of what one partition delivered together; it commits on leaving.

        One chain is written by one at a time.
        """
        async with self._database.write(f"chain/{chain_of(events[0].partition)}") as connection:
            yield SqlAppending(connection, events, inbox=self._inbox, outbox=self._outbox, announce=self._announce)

    async def links_of(self, tenant: str, request_id: str, *, links_max: int) -> Sequence[Link]:
        """Return the first `links_max` links of a tenant's request, in order of chain and sequence."""
        query = (
            select(*_LINK_COLUMNS)
            .where(LINKS.c.tenant == tenant, LINKS.c.request_id == request_id)
            .order_by(LINKS.c.chain, LINKS.c.sequence)
            .limit(links_max)
        )
        async with self._database.read() as connection:
            return [Link(**row) for row in (await connection.execute(query)).mappings()]

    async def verify(self) -> VerifyReport:
        """Verify every chain off the event loop, a file by the same code that an auditor runs on it."""
        if self._path is None:
            return await verify_tables(self._database)
        return await asyncio.to_thread(verify_database, self._path)


async def verify_tables(database: Database) -> VerifyReport:
    """Verify every chain of the record in a database, in one snapshot and a bounded part at a time."""
    async with database.read() as connection:
        heads = {row.chain: Head(**row._mapping) for row in await connection.execute(select(HEADS))}  # noqa: SLF001 - public
        verification = Verification(heads)
        links = await connection.stream(select(*_LINK_COLUMNS).order_by(LINKS.c.chain, LINKS.c.sequence))
        async for rows in links.mappings().partitions(_LINKS_A_STEP):
            await asyncio.to_thread(verification.add, [Link(**row) for row in rows])
        return verification.report()


class SqlAppending:
    """One delivery's transaction."""

    def __init__(
        self,
        connection: AsyncConnection,
        events: Sequence[Event[Any]],
        *,
        inbox: Inbox,
        outbox: Outbox,
        announce: Callable[[Link], Outgoing],
    ) -> None:
        self._connection = connection
        self._events = events
        self._causes = {event.envelope.id: event.envelope for event in events}
        self._inbox = inbox
        self._outbox = outbox
        self._announce = announce

    async def unseen(self) -> Sequence[int]:
        """Take the events into the inbox; return the places of those that were not there."""
        new = await self._inbox.accept_all(self._connection, self._events)
        places = {id(event): place for place, event in enumerate(self._events)}
        return [places[id(event)] for event in new]

    async def head(self, chain: str) -> Head:
        """Return the end of a chain, locked until the transaction ends where the database locks rows."""
        query = select(HEADS).where(HEADS.c.chain == chain).with_for_update()
        row = (await self._connection.execute(query)).one_or_none()
        return Head(chain) if row is None else Head(row.chain, row.sequence, row.fingerprint)

    async def append(self, links: Sequence[Link]) -> None:
        """Insert the links, move the head from the one that they follow, put the announcements into the outbox."""
        first = links[0]
        try:
            await self._connection.execute(insert(LINKS), [_row(link) for link in links])
            await self._move_head(first, links[-1].head)
        except IntegrityError as error:
            raise ChainMoved(f"{first.chain} {first.sequence} is taken") from error
        await self._outbox.store(self._connection, [await self._encoded(link) for link in links])

    async def _move_head(self, first: Link, head: Head) -> None:
        if first.sequence == 1:
            await self._connection.execute(insert(HEADS).values(asdict(head)))
            return
        moved = await self._connection.execute(
            update(HEADS)
            .where(
                HEADS.c.chain == first.chain,
                HEADS.c.sequence == first.sequence - 1,
                HEADS.c.fingerprint == first.previous_fingerprint,
            )
            .values(sequence=head.sequence, fingerprint=head.fingerprint)
        )
        if moved.rowcount != 1:
            raise ChainMoved(f"{first.chain} does not end at {first.sequence - 1}")

    async def _encoded(self, link: Link) -> OutboxRow:
        with continuing(self._causes[link.record_id]):
            return await self._outbox.encode(self._announce(link))


def _row(link: Link) -> dict[str, Any]:
    return {name: getattr(link, name) for name in Link.__slots__}
