"""How many commits a second generate's journal makes: a limit that no query chain can pass.

Each attempt is two transactions, its start and its end with the events that tell of it. As many are under way as a
service has lanes.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from bench.bus.cases import JOURNAL
from bench.bus.cpu import GENERATOR, Cores, Meter
from bench.bus.load import metered
from bench.bus.pacing import Measured, Pace, Plan
from headrace_generate.adapters.sql_journal import METADATA, SqlJournal
from headrace_generate.domain import Attempt, Draft, Origin, TokenUse
from headrace_messaging import Bus, Codec
from headrace_messaging.outbox import Outbox, outbox_table
from headrace_runtime import KafkaSettings
from headrace_storage import Database, ObjectBlobs
from sqlalchemy import MetaData

WRITERS: int = KafkaSettings.model_fields["lanes"].default


async def write_attempts(url: str, plan: Plan, meter: Meter) -> tuple[Measured, Cores]:
    """Write attempts as fast as they are committed; what is measured are commits, each with its own latency."""
    async with _journal(url) as journal:
        pace = Pace(plan, monotonic())
        metering = asyncio.create_task(metered(plan, meter))
        await asyncio.gather(*(_write(journal, pace) for _ in range(WRITERS)))
        cores = await metering
        # Here the load generator is what is measured.
        return pace.measured(), {JOURNAL if name == GENERATOR else name: busy for name, busy in cores.items()}


@asynccontextmanager
async def _journal(url: str) -> AsyncIterator[SqlJournal]:
    tables = MetaData()
    for declared in METADATA.sorted_tables:
        declared.to_metadata(tables)
    outbox = outbox_table(tables)
    database = await Database.connect(url, tables, schema="generate")
    with TemporaryDirectory() as folder:
        codec = Codec(Bus("127.0.0.1:1"), ObjectBlobs.in_folder(Path(folder)))  # nothing is sent: no relay runs
        yield SqlJournal(database, Outbox(outbox, codec))
    await database.close()


async def _write(journal: SqlJournal, pace: Pace) -> None:
    while not pace.over(monotonic()):
        now = datetime.now(UTC)
        origin = Origin(str(uuid.uuid4()), "bench", ("everyone",), now + timedelta(minutes=2))
        attempt = Attempt(origin, str(uuid.uuid4()), 1, "bench", "null", "local", now)
        await _timed(pace, journal.start(attempt))
        draft = Draft("an answer", "quoted", (), "stop", {})
        ended = replace(attempt, state="completed", ended_at=now, used=TokenUse(10, 3), draft=draft)
        await _timed(pace, journal.finish(ended))


async def _timed(pace: Pace, commit: Awaitable[object]) -> None:
    name = str(uuid.uuid4())
    pace.sent(name, monotonic())
    await commit
    pace.ended(name, monotonic())
