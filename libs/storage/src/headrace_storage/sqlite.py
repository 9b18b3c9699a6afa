"""SQLite in WAL mode: one file, one writer at a time, readers that never wait."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from headrace_storage.claims import Claims, ProcessClaims

BUSY_TIMEOUT_MS = 10_000


class SqliteFile:
    """The file at `path`, made with its folder where it is missing."""

    # Waiting for the writer's turn in Python is fair, SQLite's busy wait is not.
    writers_max = 1

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # An error's text would quote the values, and values are content.
        self.engine = create_async_engine(URL.create("sqlite+aiosqlite", database=str(path)), hide_parameters=True)
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
