"""A service's own database for a case: its tables, its outbox and its migrations, on SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from headrace_messaging import Bus, Codec
from headrace_messaging.outbox import Outbox, lease_table, outbox_table
from headrace_storage import Database
from sqlalchemy import MetaData

GENERATION = "bench"


@asynccontextmanager
async def open_database(
    place: str, metadata: MetaData, *, schema: str, migrations: Path
) -> AsyncIterator[tuple[Database, Outbox]]:
    """Open it at a PostgreSQL URL or in a SQLite file, made where it is missing; nobody relays its outbox."""
    tables = MetaData()
    for table in metadata.sorted_tables:
        table.to_metadata(tables)
    outbox = Outbox(outbox_table(tables), Codec(Bus("unused", GENERATION), None))
    lease_table(tables)
    if "://" in place:
        database = await Database.connect(place, tables, schema=schema, migrations=migrations)
    else:
        database = await Database.open(Path(place), tables, migrations=migrations)
    try:
        yield database, outbox
    finally:
        await database.close()
