"""How many commits a second generate's journal makes: the limit that a query chain cannot pass.

Each attempt is two transactions, its start and its end with the events that tell of it, in a PostgreSQL that is there.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from headrace_generate.adapters.sql_journal import METADATA, SqlJournal
from headrace_generate.domain import Attempt, Draft, Origin, TokenUse
from headrace_messaging import Bus, Codec
from headrace_messaging.outbox import Outbox, outbox_table
from headrace_storage import Database, ObjectBlobs
from sqlalchemy import MetaData

WRITERS = 16


async def commits_per_second(url: str, *, seconds: float) -> float:
    """Return the journal's commits a second with as many writers as a service has lanes."""
    tables = MetaData()
    for declared in METADATA.sorted_tables:
        declared.to_metadata(tables)
    outbox = outbox_table(tables)
    database = await Database.connect(url, tables, schema="bench_journal")
    with TemporaryDirectory() as folder:
        codec = Codec(Bus("127.0.0.1:1"), ObjectBlobs.in_folder(Path(folder)))
        journal = SqlJournal(database, Outbox(outbox, codec))
        began = time.monotonic()
        counts = await asyncio.gather(*(_write(journal, began + seconds) for _ in range(WRITERS)))
        wall_s = time.monotonic() - began
    await database.close()
    return 2 * sum(counts) / wall_s


async def _write(journal: SqlJournal, until: float) -> int:
    count = 0
    while time.monotonic() < until:
        now = datetime.now(UTC)
        origin = Origin(str(uuid.uuid4()), "bench", ("everyone",), now + timedelta(minutes=2))
        attempt = Attempt(origin, str(uuid.uuid4()), 1, "bench", "null", "local", now)
        await journal.start(attempt)
        draft = Draft("an answer", "quoted", (), "stop", {})
        ended = replace(attempt, state="completed", ended_at=now, used=TokenUse(10, 3), draft=draft)
        await journal.finish(ended)
        count += 1
    return count
