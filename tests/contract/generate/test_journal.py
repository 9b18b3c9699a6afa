"""What every journal promises: in memory, and in SQL with the outbox."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from headrace import topics
from headrace_generate.abandoning import sweep
from headrace_generate.adapters.memory import MemoryJournal
from headrace_generate.adapters.sql_journal import METADATA, SqlJournal
from headrace_generate.domain import Attempt, CitedSpan, Draft, Origin, TokenUse
from headrace_messaging import Bus, Codec
from headrace_messaging.outbox import Outbox, outbox_table
from sqlalchemy import MetaData, Table, select

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ORIGIN = Origin("event-1", "acme", ("everyone",), NOW + timedelta(seconds=60), "talk-1", "alice", "help", 3)
STARTED = Attempt(ORIGIN, "r1", 1, "instance-1", "small", "headrace", NOW, embedding_tokens=7)
DRAFT = Draft("Yes.", "written", (CitedSpan("a.md", 1, 0, 4, "Yes."),), "stop", {"rails": 1.5})
COMPLETED = replace(STARTED, state="completed", ended_at=NOW, used=TokenUse(10, 5, 2), draft=DRAFT)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def journal(request, databases):
    if request.param == "memory":
        yield MemoryJournal()
        return
    metadata = MetaData()
    for table in METADATA.tables.values():
        table.to_metadata(metadata)
    outbox = outbox_table(metadata)
    database = await databases.open(request.param, metadata)
    yield SqlJournal(database, Outbox(outbox, Codec(Bus("nowhere", embedded=True), None)))


async def outbox_rows(journal: SqlJournal) -> list:
    table: Table = journal._outbox._table
    async with journal._database.read() as connection:
        return list(await connection.execute(select(table).order_by(table.c.seq)))


async def test_what_is_stored_comes_back_whole_and_in_order(journal):
    """Every field, for the request of its tenant only."""
    second = replace(STARTED, number=2, owner="instance-2")
    for attempt in (STARTED, second):
        assert await journal.start(attempt)
    assert await journal.finish(COMPLETED)
    assert await journal.attempts("acme", "r1") == (COMPLETED, second)
    assert await journal.attempts("globex", "r1") == ()


async def test_a_number_is_given_once(journal):
    """Two instances cannot both start the same attempt."""
    assert await journal.start(STARTED)
    assert not await journal.start(replace(STARTED, owner="instance-2"))


async def test_an_attempt_ends_once_and_only_for_its_owner(journal):
    """Whoever was declared gone can no longer write an answer."""
    await journal.start(STARTED)
    assert not await journal.finish(replace(COMPLETED, owner="instance-2"))
    unknown = replace(STARTED, state="unknown", ended_at=NOW)
    assert await journal.finish(unknown)
    assert not await journal.finish(COMPLETED)
    assert await journal.attempts("acme", "r1") == (unknown,)


async def test_an_entry_that_is_made_again_is_found_to_be_its_own(journal):
    """A commit whose answer was lost may have happened: start and end, tried again, say what they said then."""
    assert await journal.start(STARTED)
    assert await journal.start(STARTED)
    assert await journal.finish(COMPLETED)
    assert await journal.finish(COMPLETED)
    assert await journal.attempts("acme", "r1") == (COMPLETED,)


async def test_an_attempt_that_was_not_started_cannot_end(journal):
    """There is no answer without an entry before its model ran."""
    assert not await journal.finish(COMPLETED)
    assert await journal.attempts("acme", "r1") == ()


async def test_what_others_left_open_is_found(journal):
    """For the start of the only instance: its own and the ended ones are not among them."""
    for number in (1, 2, 3):
        await journal.start(replace(STARTED, number=number, owner=f"instance-{number}"))
    await journal.finish(COMPLETED)
    assert [attempt.number for attempt in await journal.left_open("instance-3")] == [2]


async def test_what_has_not_ended_is_read_in_batches(journal):
    """Of every owner and tenant, in order of keys, from where the last batch ended; what has ended is not among it."""
    other = replace(STARTED, origin=replace(ORIGIN, tenant="globex"))
    for attempt in (other, replace(STARTED, request_id="r2"), STARTED, replace(STARTED, number=2)):
        await journal.start(attempt)
    await journal.finish(COMPLETED)
    found = await journal.started(2, after=None)
    found = [*found, *await journal.started(2, after=found[-1])]
    assert [(one.origin.tenant, one.request_id, one.number) for one in found] == [
        ("acme", "r1", 2),
        ("acme", "r2", 1),
        ("globex", "r1", 1),
    ]
    assert await journal.started(2, after=found[-1]) == []


@pytest.mark.parametrize("journal", ["sqlite", "postgresql"], indirect=True)
async def test_replicas_that_sweep_at_once_abandon_an_attempt_once(journal):
    """Whoever comes first under the request's lock writes the end, and its events; so does an owner that comes late."""
    await journal.start(STARTED)
    late = NOW + timedelta(hours=1)

    async def one_replica():
        return await sweep(journal=journal, clock=lambda: late, running=(), grace=timedelta(seconds=90))

    await asyncio.gather(*(one_replica() for _ in range(4)))
    assert not await journal.finish(COMPLETED)
    assert [row.topic for row in await outbox_rows(journal)] == [topics.USAGE_RECORDED, topics.AUDIT_SUBMITTED]


@pytest.mark.parametrize("journal", ["sqlite", "postgresql"], indirect=True)
async def test_events_are_stored_with_the_end_and_repeat_byte_for_byte(journal):
    """Usage, audit and draft in one transaction; published again they have the same ids and the same bytes."""
    await journal.start(STARTED)
    assert await outbox_rows(journal) == []
    await journal.finish(COMPLETED)
    await journal.finish(COMPLETED)
    first = await outbox_rows(journal)
    assert [row.topic for row in first] == [topics.USAGE_RECORDED, topics.AUDIT_SUBMITTED, topics.ANSWER_DRAFTED]
    await journal.publish_again(await journal.attempts("acme", "r1"))
    again = (await outbox_rows(journal))[3:]
    assert [(row.key, row.headers, row.value) for row in again] == [(row.key, row.headers, row.value) for row in first]


@pytest.mark.parametrize("journal", ["sqlite", "postgresql"], indirect=True)
async def test_a_bus_that_persists_is_told_once(journal):
    """The events of a redelivered request are on their topics, or in the outbox: a repeat would double them."""
    persisting = SqlJournal(journal._database, Outbox(journal._outbox._table, Codec(Bus("nowhere"), None)))
    await persisting.start(STARTED)
    await persisting.finish(COMPLETED)
    await persisting.publish_again(await persisting.attempts("acme", "r1"))
    assert len(await outbox_rows(persisting)) == 3


@pytest.mark.parametrize("journal", ["sqlite", "postgresql"], indirect=True)
async def test_a_request_made_by_a_call_sends_no_draft_to_moderate(journal):
    """Its answer goes back by the call; usage and audit are the same."""
    by_call = replace(ORIGIN, by_call=True)
    await journal.start(replace(STARTED, origin=by_call))
    await journal.finish(replace(COMPLETED, origin=by_call))
    assert [row.topic for row in await outbox_rows(journal)] == [topics.USAGE_RECORDED, topics.AUDIT_SUBMITTED]
