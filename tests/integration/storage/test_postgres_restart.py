"""Stores on a PostgreSQL that is killed and started again under them: everything happens once, nothing is a bug."""

import asyncio
import itertools

from headrace_messaging.backoff import Backoff, keep_trying
from headrace_storage import Database, insert_new
from sqlalchemy import Column, Integer, MetaData, String, Table, func, select, update

METADATA = MetaData()
SEEN = Table("seen", METADATA, Column("event_id", String(40), primary_key=True))
COUNTER = Table("counter", METADATA, Column("name", String(4), primary_key=True), Column("count", Integer))
BACKOFF = Backoff(min_ms=5, max_ms=200)
EVENTS = 40
KILLS = 3


async def handle(database: Database, event_id: str, name: str) -> None:
    """Count an event once, whatever is delivered twice: an inbox and its effect."""
    async with database.write(name) as connection:
        if await insert_new(connection, SEEN, {"event_id": event_id}):
            count = await connection.scalar(select(COUNTER.c.count).where(COUNTER.c.name == name))
            await connection.execute(update(COUNTER).where(COUNTER.c.name == name).values(count=count + 1))


async def test_a_server_that_is_killed_again_and_again_costs_only_time(own_server):
    """Kill -9 of the whole server under two replicas: every event is counted once, by tries that wait."""
    server = own_server("postgres")
    url = server.environment["HEADRACE_SQL__URL"]
    replicas = [await Database.connect(url, METADATA, schema="service") for _ in range(2)]
    async with replicas[0].write() as connection:
        for name in "abcd":
            await insert_new(connection, COUNTER, {"name": name, "count": 0})
    done = 0

    async def deliver(name: str, number: int) -> None:
        nonlocal done
        for replica in replicas:  # a redelivery to the other one
            await keep_trying(lambda: handle(replica, f"{name}-{number}", name), backoff=BACKOFF)  # noqa: B023
            await asyncio.sleep(0.01)
        done += 1

    async def deliver_all(name: str) -> None:
        for number in range(EVENTS):
            await deliver(name, number)

    async def kill() -> None:
        for kills in range(1, KILLS + 1):
            while done < kills * 4 * EVENTS / (KILLS + 1):  # noqa: ASYNC110 - progress is what is waited for
                await asyncio.sleep(0.01)
            server.processes[0].kill()
            await asyncio.to_thread(_start_again, server)

    await asyncio.gather(kill(), *map(deliver_all, "abcd"))
    async with replicas[0].read() as connection:
        counts = [row[0] for row in await connection.execute(select(COUNTER.c["count"]))]
        seen = await connection.scalar(select(func.count()).select_from(SEEN))
    assert counts == [EVENTS] * 4
    assert seen == 4 * EVENTS
    for replica in replicas:
        await replica.close()


def _start_again(server) -> None:
    for process, act in itertools.product(server.processes, ("start", "wait_ready")):
        getattr(process, act)()
