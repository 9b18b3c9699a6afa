"""SQLite in WAL mode: one file, one writer at a time, readers that never wait."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

import aiosqlite
from sqlalchemy import AdaptedConnection, event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from headrace_storage.claims import Claims, ProcessClaims
from headrace_storage.failures import PRIMARY_CODE

BUSY_TIMEOUT_S = 10
_WAL_RETRY_S = 0.01


class SqliteFile:
    """The file at `path`, made with its folder where it is missing."""

    # Waiting for the writer's turn in Python is fair, SQLite's busy wait is not.
    writers_max = 1

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.engine = create_async_engine(
            URL.create("sqlite+aiosqlite", database=str(path)),
            hide_parameters=True,  # an error's text would quote the values, and values are content
            # The driver would open transactions by itself, too late for BEGIN IMMEDIATE; we say BEGIN ourselves.
            connect_args={"isolation_level": None, "timeout": BUSY_TIMEOUT_S},
        )
        event.listen(self.engine.sync_engine, "connect", _configure)
        self.claims: Claims = ProcessClaims()

    def number(self, key: str) -> int:
        """Return a number for a key of a claim."""
        return hash(key)

    async def prepare(self, connection: AsyncConnection) -> None:
        """Do nothing: the file is there."""

    async def begin_write(self, connection: AsyncConnection, keys: Sequence[str]) -> None:
        """Open a transaction that is the only writing one, whatever its keys."""
        del keys
        await connection.exec_driver_sql("BEGIN IMMEDIATE")

    async def lock(self, connection: AsyncConnection, keys: Sequence[str]) -> None:
        """Do nothing: a writing transaction excludes every other."""

    async def begin_read(self, connection: AsyncConnection) -> None:
        """Open a transaction that reads one snapshot."""
        await connection.exec_driver_sql("BEGIN")


def _configure(connection: AdaptedConnection, _record: object) -> None:
    connection.run_async(_set_pragmas)


async def _set_pragmas(connection: aiosqlite.Connection) -> None:
    await _enter_wal(connection)
    await connection.execute("PRAGMA synchronous=FULL")  # a committed row survives power loss
    await connection.execute("PRAGMA foreign_keys=ON")


async def _enter_wal(connection: aiosqlite.Connection) -> None:
    """Switch to WAL; a new file's first openers do it all at once, and SQLite waits for none of them.

    Each has read the file's header by then, so that waiting for another could be for ever: all but one get SQLITE_BUSY
    at once, whatever the busy timeout.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            async with connection.execute("PRAGMA journal_mode=WAL"):
                return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & PRIMARY_CODE != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        await asyncio.sleep(_WAL_RETRY_S)
