"""A SQL database as a service opens it: SQLite in WAL mode by default.

Schemas are SQLAlchemy metadata of the services. Portable Core only: PostgreSQL is the same code behind another URL.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

BUSY_TIMEOUT_MS = 10_000


class Database:
    """One service's database.

    `write()` opens a transaction that holds SQLite's writer lock from its first statement on, so that what it reads
    cannot change before it commits; `read()` opens one that never blocks a writer. Functions given to `on_commit` run
    after every committed `write()`: the outbox relay wakes that way.
    """

    def __init__(self, engine: AsyncEngine, metadata: MetaData) -> None:
        self._engine = engine
        self._metadata = metadata
        self._writer = asyncio.Lock()
        self._on_commit: list[Callable[[], None]] = []

    @classmethod
    async def open(cls, path: Path, metadata: MetaData) -> Database:
        """Open (and where needed create) the SQLite file at `path` with the tables of `metadata`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        engine = create_async_engine(URL.create("sqlite+aiosqlite", database=str(path)))
        event.listen(engine.sync_engine, "connect", _configure)
        database = cls(engine, metadata)
        async with database.write() as connection:
            await connection.run_sync(metadata.create_all)
        return database

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` after every committed `write()`."""
        self._on_commit.append(callback)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Open a writing transaction; it commits on leaving, or rolls back on an error."""
        # One writer at a time in this process: waiting in Python is fair, SQLite's busy wait is not.
        async with self._writer, self._engine.connect() as connection:
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                await connection.rollback()
                raise
            await connection.commit()
        for callback in self._on_commit:
            callback()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open a reading transaction: one snapshot for all its statements."""
        async with self._engine.connect() as connection:
            await connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                await connection.rollback()

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


def _configure(connection: Any, _record: object) -> None:
    # The driver would open transactions by itself, too late for BEGIN IMMEDIATE; we say BEGIN ourselves.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",  # a committed row survives power loss
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
