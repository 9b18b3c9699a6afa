"""A service's SQL database: SQLite by path, PostgreSQL by URL, behind the same transactions.

Schemas are SQLAlchemy metadata of the services, queries are portable Core. What differs between the two databases is in
sqlite.py and postgres.py; what their errors mean is in failures.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, MetaData, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from headrace_storage.claims import Claims
from headrace_storage.failures import CONNECT_ERRORS, told_as_ours
from headrace_storage.migrations import upgrade
from headrace_storage.postgres import PostgresSchema
from headrace_storage.sqlite import SqliteFile

CONNECTIONS_MAX = 8


class Place(Protocol):
    """Where a database lies and how its transactions begin: SqliteFile or PostgresSchema."""

    @property
    def engine(self) -> AsyncEngine:
        """The engine; its connections are the database's to open."""
        ...

    @property
    def claims(self) -> Claims:
        """What this process has claimed."""
        ...

    def number(self, key: str) -> int:
        """Return the number that stands for a key, 64 bits signed."""
        ...

    @property
    def writers_max(self) -> int:
        """How many writing transactions this process may have open at a time."""
        ...

    async def prepare(self, connection: AsyncConnection) -> None:
        """Make what the tables lie in, in a transaction without keys."""
        ...

    async def begin_write(self, connection: AsyncConnection, keys: Sequence[str]) -> None:
        """Begin a writing transaction that excludes those with a key in common; without keys, every other."""
        ...

    async def lock(self, connection: AsyncConnection, keys: Sequence[str]) -> None:
        """Take more keys in a transaction that was begun with keys."""
        ...

    async def begin_read(self, connection: AsyncConnection) -> None:
        """Begin a transaction that reads one snapshot and never blocks a writer."""
        ...


class Database:
    """One service's database; several replicas of a service may have the same one open on PostgreSQL.

    A `write()` excludes every other write, on every replica: what it reads cannot change before it commits. A
    `write(key, ...)` promises so only against writes that name one of its keys, and against writes without keys: name
    what decides, such as the request. On SQLite there is one writer whatever the keys. Locks that are taken later, by
    `lock`, must follow one order in all transactions; a circle ends as Unavailable.

    `read()` never blocks a writer. Functions given to `on_commit` run after every committed write of this process: the
    outbox relay wakes that way.

    What the database cannot do now is Unavailable, the commit's own failure included: then nobody knows whether the
    transaction happened, and whoever tries again must find out. A value that no column takes is InvalidMessage.
    IntegrityError stays what it is.
    """

    def __init__(self, place: Place, metadata: MetaData) -> None:
        self._place = place
        self._metadata = metadata
        self._writers = asyncio.Semaphore(place.writers_max)
        self._on_commit: list[Callable[[], None]] = []

    @classmethod
    async def open(cls, path: Path, metadata: MetaData, *, migrations: Path | None = None) -> Database:
        """Open (and where needed create) the SQLite file at `path` with the tables of `metadata`.

        `migrations` is the folder of the revisions that make them; without one, missing tables are made as they are.
        """
        database = cls(SqliteFile(path), metadata)
        await database._prepare(migrations)
        return database

    @classmethod
    async def connect(
        cls,
        url: str,
        metadata: MetaData,
        *,
        schema: str,
        migrations: Path | None = None,
        connections_max: int = CONNECTIONS_MAX,
    ) -> Database:
        """Connect to PostgreSQL (`postgresql+asyncpg://...`), with the tables of `metadata` in `schema`; see `open`."""
        place = PostgresSchema(make_url(url), schema, connections_max=connections_max)
        database = cls(place, metadata)
        await database._prepare(migrations)
        return database

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._place.engine.dialect.name

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` after every committed write."""
        self._on_commit.append(callback)

    @asynccontextmanager
    async def write(self, *keys: str) -> AsyncIterator[AsyncConnection]:
        """Open a writing transaction; it commits on leaving, or rolls back on an error."""
        async with self._writers, self._connection() as connection:
            await self._place.begin_write(connection, keys)
            try:
                yield connection
            except BaseException:
                with suppress(DBAPIError):  # a connection that is gone has rolled back
                    await connection.rollback()
                raise
            await connection.commit()
        for callback in self._on_commit:
            callback()

    async def lock(self, connection: AsyncConnection, *keys: str) -> None:
        """Take more keys in a `write(key, ...)`, once it is known which decide; read again what was read before."""
        await self._place.lock(connection, keys)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open a reading transaction: one snapshot for all its statements."""
        async with self._connection() as connection:
            await self._place.begin_read(connection)
            try:
                yield connection
            finally:
                with suppress(DBAPIError):
                    await connection.rollback()

    @asynccontextmanager
    async def claim(self, key: str) -> AsyncIterator[bool]:
        """Say whether this is now the one place that works on `key`, until the block is left; see claims.py."""
        claims, number = self._place.claims, self._place.number(f"claim/{key}")
        taken = await claims.take(number)
        try:
            yield taken
        finally:
            if taken:
                await claims.give_back(number)

    async def close(self) -> None:
        """Close every connection."""
        await self._place.claims.close()
        await self._place.engine.dispose()

    async def _prepare(self, migrations: Path | None) -> None:
        try:
            async with self.write() as connection:
                await self._place.prepare(connection)
                await connection.run_sync(_make_tables, self._metadata, migrations)
        except BaseException:
            await self.close()
            raise

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        async with AsyncExitStack() as opened:
            with told_as_ours(DBAPIError, *CONNECT_ERRORS):
                connection = await opened.enter_async_context(self._place.engine.connect())
            with told_as_ours(DBAPIError):
                yield connection


def _make_tables(connection: Connection, metadata: MetaData, migrations: Path | None) -> None:
    if migrations is None:
        metadata.create_all(connection)
    else:
        upgrade(connection, metadata, migrations)
