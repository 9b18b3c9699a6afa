"""What messaging needs of a service's database: transactions, as headrace_storage.Database opens them."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection


class Transactions(Protocol):
    """The database of a service. What it cannot do now is Unavailable."""

    def write(self, *keys: str) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a writing transaction that excludes those with a key in common; without keys, every other."""
        ...

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a reading transaction."""
        ...
