"""Claims: work that one replica has taken on, and that the others leave alone meanwhile.

A claim ends with the replica that holds it, however that ends, and also when its connection is lost: then another may
take the work on too. So a claim saves work and proves nothing; what the work changes is checked in its transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Protocol

from headrace_errors import Unavailable
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from headrace_storage.failures import CONNECT_ERRORS, told_as_ours


class Claims(Protocol):
    """What this process has claimed, against itself and against other replicas."""

    async def take(self, number: int) -> bool:
        """Take a claim; False where somebody holds it. Unavailable."""
        ...

    async def give_back(self, number: int) -> None:
        """Give a claim back."""
        ...

    async def close(self) -> None:
        """Give back what is held."""
        ...


class ProcessClaims:
    """Claims where there is one process: SQLite's."""

    def __init__(self) -> None:
        self._held: set[int] = set()

    async def take(self, number: int) -> bool:
        """Take a claim."""
        if number in self._held:
            return False
        self._held.add(number)
        return True

    async def give_back(self, number: int) -> None:
        """Give a claim back."""
        self._held.discard(number)

    async def close(self) -> None:
        """Give back what is held."""
        self._held.clear()


class SessionClaims:
    """Claims as advisory locks of one PostgreSQL session, which is opened for the first of them."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._one_at_a_time = asyncio.Lock()
        self._session = AsyncExitStack()
        self._connection: AsyncConnection | None = None
        self._held: set[int] = set()

    async def take(self, number: int) -> bool:
        """Take a claim; False where this process or another holds it."""
        async with self._one_at_a_time:
            if number in self._held:
                return False  # the session would be given its own lock again
            async with self._opened() as connection:
                taken = bool(await connection.scalar(select(func.pg_try_advisory_lock(number))))
            if taken:
                self._held.add(number)
            return taken

    async def give_back(self, number: int) -> None:
        """Give a claim back; a session that was lost has done so already."""
        async with self._one_at_a_time:
            if number in self._held and self._connection is not None:
                self._held.discard(number)
                with suppress(Unavailable):
                    async with self._opened() as connection:
                        await connection.execute(select(func.pg_advisory_unlock(number)))

    async def close(self) -> None:
        """End the session, and with it every claim."""
        connection, self._connection = self._connection, None
        self._held.clear()
        with suppress(DBAPIError):
            if connection is not None:
                await connection.invalidate()  # back in the pool it would go on holding its locks
            await self._session.aclose()

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[AsyncConnection]:
        try:
            with told_as_ours(DBAPIError, *CONNECT_ERRORS):
                if self._connection is None:
                    connection = await self._session.enter_async_context(self._engine.connect())
                    self._connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
                yield self._connection
        except Unavailable:
            await self.close()  # its locks are gone with it
            raise
