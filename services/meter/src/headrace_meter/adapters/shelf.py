"""Published price books in SQL: taken in once by their events, told to audit, and found by every replica."""

from __future__ import annotations

from typing import Any

from headrace_messaging import Event
from headrace_messaging.inbox import Inbox
from headrace_messaging.outbox import Outbox
from headrace_storage import Database
from sqlalchemy import insert, select

from headrace_meter.adapters.announcements import prices_record
from headrace_meter.adapters.rows import microseconds_of, moment_of
from headrace_meter.adapters.tables import PRICE_BOOKS
from headrace_meter.published import PublishedBook, version_taken


class SqlShelf:
    """The port Shelf, and where books are put."""

    def __init__(self, database: Database, *, inbox: Inbox, outbox: Outbox) -> None:
        self._database, self._inbox, self._outbox = database, inbox, outbox

    async def put(self, event: Event[Any], book: PublishedBook) -> None:
        """Keep the book of an event, once; InvalidMessage where its version has another text."""
        async with self._database.write("prices") as connection:
            if not await self._inbox.accept(connection, event):
                return
            same = select(PRICE_BOOKS.c.book_text).where(PRICE_BOOKS.c.version == book.version)
            known = await connection.scalar(same)
            if known == book.text:
                return
            if known is not None:
                raise version_taken(book.version)
            row = {
                "version": book.version,
                "book_text": book.text,
                "published_by": book.published_by,
                "published_us": microseconds_of(book.published_at),
            }
            await connection.execute(insert(PRICE_BOOKS).values(row))
            await self._outbox.store(connection, [await self._outbox.encode(prices_record(event.envelope.id, book))])

    async def newest(self, *, after: int) -> tuple[int, PublishedBook] | None:
        """Return the newest book and its number; None where none came after that number."""
        table = PRICE_BOOKS.c
        query = select(PRICE_BOOKS).where(table.number > after).order_by(table.number.desc()).limit(1)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            return None
        return row.number, PublishedBook(
            version=row.version,
            text=row.book_text,
            published_by=row.published_by,
            published_at=moment_of(row.published_us),
        )
