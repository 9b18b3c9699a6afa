"""A service that writes and relays, in a process of its own, to be killed at any moment.

Sixteen writers count keys up: each transaction locks its key, adds one to the key's count, adds an event of that number
to the outbox, waits a moment and commits. So transactions of different keys commit in another order than they began in,
and what must be on the topic follows from the counts: every number of every key, once, in order.
"""

import asyncio
import random
from dataclasses import dataclass
from pathlib import Path

from headrace_errors import HeadraceError
from headrace_messaging import Bus, Record
from headrace_messaging.backoff import Backoff
from headrace_messaging.outbox import RelayOptions, lease_table, outbox_table, relay_of
from headrace_messaging.outbox.lease import LeaseTimes
from headrace_messaging.outbox.rows import to_row
from headrace_storage import Database
from sqlalchemy import Column, Integer, MetaData, String, Table, func, insert, select, update

METADATA = MetaData()
OUTBOX, LEASES = outbox_table(METADATA), lease_table(METADATA)
COUNTS = Table(
    "counts", METADATA, Column("key", String(8), primary_key=True), Column("number", Integer, nullable=False)
)
OPTIONS = RelayOptions(batch_rows=50, poll_ms=100, poll_contended_ms=20, backoff=Backoff(min_ms=5, max_ms=200))
LEASE = LeaseTimes(beat_ms=200, silent_max_ms=1_000)
WRITERS = 16
KEYS = 24


@dataclass(frozen=True)
class Work:
    """What to do: where, under which names, and up to which sum of all counts."""

    bootstrap: str
    database: str
    service: str
    instance: str
    topic: str
    total: int


async def open_database(work: Work) -> Database:
    """Open the database: a URL, or a SQLite file."""
    if "://" in work.database:
        return await Database.connect(work.database, METADATA, schema="service")
    return await Database.open(Path(work.database), METADATA)


async def counts(database: Database) -> dict[str, int]:
    """Return how far each key was counted."""
    async with database.read() as connection:
        return {row.key: row.number for row in await connection.execute(select(COUNTS))}


async def write(work: Work, database: Database) -> None:
    """Count keys up until there is enough of it."""
    while True:
        key = f"k{random.randrange(KEYS)}"
        try:
            async with database.write(key) as connection:
                if int(await connection.scalar(select(func.sum(COUNTS.c.number))) or 0) >= work.total:
                    return
                raised = update(COUNTS).where(COUNTS.c.key == key).values(number=COUNTS.c.number + 1)
                if not (await connection.execute(raised)).rowcount:
                    await connection.execute(insert(COUNTS).values(key=key, number=1))
                number = await connection.scalar(select(COUNTS.c.number).where(COUNTS.c.key == key))
                record = Record(
                    work.topic, key.encode(), str(number).encode(), (("ce_id", f"{key}/{number}".encode()),)
                )
                await connection.execute(insert(OUTBOX).values(to_row(record)))
                await asyncio.sleep(random.uniform(0, 0.004))
        except HeadraceError:
            await asyncio.sleep(0.05)


def run(work: Work) -> None:
    """Be the process."""
    asyncio.run(write_and_relay(work))


async def write_and_relay(work: Work) -> None:
    """Write until there is enough, and relay until nothing is left."""
    database = await open_database(work)
    relay = relay_of(
        Bus(work.bootstrap), database, OUTBOX, None, leases=LEASES, lease_times=LEASE,
        service=work.service, instance=work.instance, options=OPTIONS,
    )  # fmt: skip
    database.on_commit(relay.wake)
    relaying = asyncio.create_task(relay.run())
    await asyncio.gather(*(write(work, database) for _ in range(WRITERS)))
    while await relay.pending():
        if relaying.done():
            await relaying
        await asyncio.sleep(0.02)
    relay.stop()
    await relaying
    await database.close()
