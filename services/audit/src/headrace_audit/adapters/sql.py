"""The record in SQL: links, heads, inbox and outbox in one database, written in one transaction a delivery.

The primary key (chain, sequence) and the check of the head make an append conditional: a second writer, or one that
was declared dead and is not, fails with ChainMoved instead of forking the chain.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from headrace_messaging import Event, Outgoing
from headrace_messaging.inbox import Inbox, inbox_tables
from headrace_messaging.outbox import Outbox
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
    async def delivery(self, event: Event[Any]) -> AsyncIterator[SqlAppending]:
        """Open the transaction of one delivered event; it commits on leaving. One chain is written by one at a time."""
        async with self._database.write(f"chain/{chain_of(event.partition)}") as connection:
            yield SqlAppending(connection, event, inbox=self._inbox, outbox=self._outbox, announce=self._announce)

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
        event: Event[Any],
        *,
        inbox: Inbox,
        outbox: Outbox,
        announce: Callable[[Link], Outgoing],
    ) -> None:
        self._connection = connection
        self._event = event
        self._inbox = inbox
        self._outbox = outbox
        self._announce = announce

    async def first_time(self) -> bool:
        """Take the event id into the inbox; False when it was there."""
        return await self._inbox.accept(self._connection, self._event)

    async def head(self, chain: str) -> Head:
        """Return the end of a chain, locked until the transaction ends where the database locks rows."""
        query = select(HEADS).where(HEADS.c.chain == chain).with_for_update()
        row = (await self._connection.execute(query)).one_or_none()
        return Head(chain) if row is None else Head(row.chain, row.sequence, row.fingerprint)

    async def append(self, link: Link) -> None:
        """Insert the link, move the head from the one that it follows, put the announcement into the outbox."""
        try:
            await self._connection.execute(insert(LINKS).values({name: getattr(link, name) for name in Link.__slots__}))
            await self._move_head(link)
        except IntegrityError as error:
            raise ChainMoved(f"{link.chain} {link.sequence} is taken") from error
        await self._outbox.add(self._connection, self._announce(link))

    async def _move_head(self, link: Link) -> None:
        if link.sequence == 1:
            head = {"chain": link.chain, "sequence": 1, "fingerprint": link.fingerprint}
            await self._connection.execute(insert(HEADS).values(head))
            return
        moved = await self._connection.execute(
            update(HEADS)
            .where(
                HEADS.c.chain == link.chain,
                HEADS.c.sequence == link.sequence - 1,
                HEADS.c.fingerprint == link.previous_fingerprint,
            )
            .values(sequence=link.sequence, fingerprint=link.fingerprint)
        )
        if moved.rowcount != 1:
            raise ChainMoved(f"{link.chain} does not end at {link.sequence - 1}")
