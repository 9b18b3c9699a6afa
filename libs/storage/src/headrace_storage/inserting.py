"""Inserting what may be there already, without an error that would end the transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

_INSERT: Final[Mapping[str, Callable[[Table], postgresql.Insert | sqlite.Insert]]] = {
    "postgresql": postgresql.insert,
    "sqlite": sqlite.insert,
}


async def insert_new(connection: AsyncConnection, table: Table, row: Mapping[str, Any]) -> bool:
    """Insert a row; False, and nothing done, where one with its primary key or another unique key is there.

    Where another transaction has inserted such a row and not ended yet, this waits for its end.
    """
    inserted = _INSERT[connection.dialect.name](table).values(row).on_conflict_do_nothing()
    return bool((await connection.execute(inserted)).rowcount)
