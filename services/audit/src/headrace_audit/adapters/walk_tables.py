"""Walks over a record in any database that the service knows, PostgreSQL above all: reads it, and writes nothing."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from headrace_storage import Database
from headrace_storage.postgres import PostgresSchema
from sqlalchemy import make_url, select
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace_audit.adapters.tables import CHECKPOINTS, HEADS, LINK_COLUMNS, LINKS, METADATA, SIGNERS
from headrace_audit.domain import Head, Link
from headrace_audit.verification import Contents
from headrace_audit.walks import Start, Walker

SCHEMA = "audit"
_CONNECTIONS_MAX = 3
_LINKS_A_STEP = 500

W = TypeVar("W", bound=Walker)


async def walk_tables(database: Database, start: Start[W]) -> W:
    """Walk the record in one snapshot, a bounded part at a time; the walker works off the event loop."""
    async with database.read() as connection:
        walker = start(await _contents(connection))
        links = await connection.stream(select(*LINK_COLUMNS).order_by(LINKS.c.chain, LINKS.c.sequence))
        async for rows in links.mappings().partitions(_LINKS_A_STEP):
            await asyncio.to_thread(walker.add, [Link(**row) for row in rows])
        return walker


async def walk_postgres(url: str, start: Start[W]) -> W:
    """Walk the record on the server of `url`; a HeadraceError when it cannot be read."""
    database = Database(PostgresSchema(make_url(url), SCHEMA, connections_max=_CONNECTIONS_MAX), METADATA)
    try:
        return await walk_tables(database, start)
    finally:
        await database.close()


async def _contents(connection: AsyncConnection) -> Contents:
    kept = select(CHECKPOINTS.c.note).order_by(CHECKPOINTS.c.chain, CHECKPOINTS.c.sequence)
    handed_over = select(SIGNERS.c.succession).where(SIGNERS.c.succession != "").order_by(SIGNERS.c.number)
    heads = (await connection.execute(select(HEADS).order_by(HEADS.c.chain))).all()
    notes = [row.note for row in heads if row.note] + list(await connection.scalars(kept))
    return Contents(
        heads=tuple(Head(row.chain, row.sequence, row.fingerprint) for row in heads),
        checkpoints=tuple(dict.fromkeys(notes)),
        successions=tuple(await connection.scalars(handed_over)),
    )
