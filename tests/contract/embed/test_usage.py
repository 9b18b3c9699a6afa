"""What embed's UsageBook promises: a usage that was recorded is an event that no stop of anything loses."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from headrace import topics
from headrace_embed.adapters.outbox_usage import COMMIT_EVENTS_MAX, OutboxUsage
from headrace_embed.domain import Usage
from headrace_embed.entrypoints.messages import usage_message
from headrace_errors import Unavailable
from headrace_messaging import Bus, Codec, Event, Received
from headrace_messaging.outbox import Outbox, outbox_table
from headrace_messaging.outbox.rows import to_record
from headrace_storage import Database
from sqlalchemy import MetaData, Table, select

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
USAGE = Usage(
    id="usage-1",
    tenant="acme",
    request_id="r1",
    document="",
    model="small",
    provider="headrace",
    tokens=7,
    started_at=NOON,
    ended_at=NOON.replace(second=1),
)
CODEC = Codec(Bus("nowhere", embedded=True), None)
READ_ONLY = {
    "sqlite": ("PRAGMA query_only = 1", "PRAGMA query_only = 0"),
    "postgresql": (
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    ),
}


class Replica:
    """A book of one replica, and what the relay will publish of it and of the others."""

    def __init__(self, database: Database, table: Table) -> None:
        self.record = OutboxUsage(database, Outbox(table, CODEC)).record
        self._database, self._table = database, table

    async def events(self) -> list[Event]:
        """Return every event that is safe, as its consumer will read it."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(self._table).order_by(self._table.c.seq))
            records = [to_record(row) for row in rows]
        return [await CODEC.decode(Received(one.topic, 0, 0, 0, one.key, one.value, one.headers)) for one in records]

    async def stand_still(self) -> None:
        """Let the database refuse to write."""
        await self._set(0)

    async def go_on(self) -> None:
        """Let it write again."""
        await self._set(1)

    async def _set(self, which: int) -> None:
        # PostgreSQL keeps what was committed; SQLite takes a pragma at once, and begins no write while it may not.
        begin = self._database.read if self._database.dialect == "sqlite" else self._database.write
        async with begin() as connection:
            await connection.exec_driver_sql(READ_ONLY[self._database.dialect][which])


@pytest.fixture(params=["sqlite", "postgresql"])
def opening(request, databases):
    """Return the opener of replicas of one service: again for another one, or for a restart."""

    async def replica() -> Replica:
        metadata = MetaData()
        table = outbox_table(metadata)
        return Replica(await databases.open(request.param, metadata), table)

    return replica


@pytest.fixture
async def book(opening):
    """Return the book of the only replica."""
    return await opening()


async def test_a_usage_is_told_whole_under_its_own_id(book):
    """Everything that meter books is in it, and its tenant's usages are in order."""
    await book.record(USAGE)
    (event,) = await book.events()
    assert event.topic == topics.USAGE_RECORDED
    assert (event.envelope.id, event.envelope.tenant, event.key) == ("usage-1", "acme", "acme")
    assert event.envelope.correlation_id == "r1"
    assert event.payload == usage_message(USAGE)


async def test_a_usage_outside_any_request_is_told_too(book):
    """Somebody pays for it all the same."""
    await book.record(replace(USAGE, request_id=""))
    assert [event.envelope.id for event in await book.events()] == ["usage-1"]


async def test_what_was_recorded_is_there_after_a_restart(opening):
    """Its caller has the vectors: nothing would tell of it again."""
    await (await opening()).record(USAGE)
    assert [event.envelope.id for event in await (await opening()).events()] == ["usage-1"]


async def test_a_call_that_is_repeated_is_the_same_fact(book):
    """Whoever books knows it by its id: the second event differs in nothing that counts."""
    await book.record(USAGE)
    await book.record(USAGE)
    first, second = await book.events()
    assert first.envelope.id == second.envelope.id
    assert first.payload == second.payload


async def test_of_many_calls_at_once_each_is_told_once(book):
    """More than one transaction takes, and in the order in which they came."""
    ids = [f"usage-{number}" for number in range(2 * COMMIT_EVENTS_MAX + 1)]
    await asyncio.gather(*(book.record(replace(USAGE, id=each)) for each in ids))
    assert [event.envelope.id for event in await book.events()] == ids


async def test_replicas_record_side_by_side(opening):
    """Neither takes the other's for its own."""
    replicas = [await opening(), await opening()]
    ids = [f"usage-{number}" for number in range(20)]
    await asyncio.gather(*(replicas[index % 2].record(replace(USAGE, id=each)) for index, each in enumerate(ids)))
    assert {event.envelope.id for event in await replicas[0].events()} == set(ids)


async def test_what_cannot_be_made_safe_is_refused_and_the_next_is_not(book):
    """Each of those calls fails, so that nobody has vectors that nobody pays for; none is told later by surprise."""
    await book.stand_still()
    lost = [book.record(replace(USAGE, id=f"lost-{number}")) for number in range(3)]
    refused = await asyncio.gather(*lost, return_exceptions=True)
    assert [type(each) for each in refused] == [Unavailable] * 3
    await book.go_on()
    await book.record(USAGE)
    assert [event.envelope.id for event in await book.events()] == ["usage-1"]


async def test_a_caller_that_leaves_takes_nothing_back(book):
    """The model ran for it."""
    leaving, staying = (asyncio.create_task(book.record(replace(USAGE, id=each))) for each in ("left", "stayed"))
    await asyncio.sleep(0)
    leaving.cancel()
    await staying
    assert leaving.cancelled()
    assert [event.envelope.id for event in await book.events()] == ["left", "stayed"]
