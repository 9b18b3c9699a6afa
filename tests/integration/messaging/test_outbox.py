"""Outbox and inbox on SQLite and a real bus."""

import asyncio
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from bus_driving import ask, until
from headrace.topics import QUERY_REQUESTED, USAGE_RECORDED, topic
from headrace_errors import InvalidMessage, Unavailable
from headrace_messaging import (
    Bus,
    Codec,
    Event,
    Outgoing,
    Received,
    Record,
    SubscriberOptions,
    Subscription,
    follow,
    new_envelope,
)
from headrace_messaging.backoff import Backoff
from headrace_messaging.codec import RECORD_BYTES_MAX
from headrace_messaging.inbox import Inbox, inbox_tables
from headrace_messaging.outbox import Outbox, Relay, RelayOptions, outbox_table
from headrace_messaging.outbox.carriers import OneByOne
from headrace_messaging.outbox.lease import Lease, LeaseTimes, lease_table
from headrace_messaging.outbox.store import OutboxStore
from headrace_storage import Database
from sqlalchemy import Column, Integer, MetaData, String, Table, func, insert, select

OPTIONS = RelayOptions(poll_ms=50, backoff=Backoff(min_ms=1, max_ms=5))
LEASES = lease_table(MetaData())
FAST = SubscriberOptions(commit_interval_ms=20)


def usage(number, key="acme") -> Outgoing:
    """Make a usage event; its topic's consumers keep an inbox."""
    envelope = new_envelope(USAGE_RECORDED, source="/test", id=f"u{number}")
    return Outgoing(USAGE_RECORDED, key, topic(USAGE_RECORDED).message(), envelope)


@pytest.fixture
async def store(tmp_path, codec):
    """Open a database with an outbox, an inbox, and a table of effects."""
    metadata = MetaData()
    outbox, inbox = outbox_table(metadata), inbox_tables(metadata)
    effects = Table("effects", metadata, Column("number", Integer, primary_key=True), Column("event_id", String))
    database = await Database.open(tmp_path / "state.db", metadata)
    yield database, outbox, Outbox(outbox, codec), inbox, effects
    await database.close()


class Flaky:
    """Sends through a publisher, but fails or breaks off where told."""

    def __init__(self, publisher, fail_ids=()):
        self.publisher, self.fail_ids, self.sent = publisher, set(fail_ids), []

    async def send(self, record):
        """Send, or raise Unavailable once for each marked id."""
        event_id = dict(record.headers)["ce_id"].decode()
        if event_id in self.fail_ids:
            self.fail_ids.remove(event_id)
            raise Unavailable("told to fail")
        await self.publisher.send(record)
        self.sent.append(event_id)


async def drained(relay):
    """Wait until nothing is unsent."""
    async with asyncio.timeout(60):
        while await relay.pending():  # noqa: ASYNC110 - the database is what is asked
            await asyncio.sleep(0.005)


def relay_to(sender, database, table, *, generation="g1", options=OPTIONS, keep_sent_rows=1_000):
    """Make a relay as for an embedded bus of that generation."""
    store = OutboxStore(database, table, generation=generation, keep_sent_ms=60_000, keep_sent_rows=keep_sent_rows)
    return Relay(store, OneByOne(sender), options=options)


async def relayed(database, table, sender, generation="g1"):
    """Relay until nothing is left."""
    relay = relay_to(sender, database, table, generation=generation)
    running = asyncio.create_task(relay.run())
    try:
        await drained(relay)
    finally:
        relay.stop()
        await running


async def test_an_event_is_published_only_if_its_transaction_commits(store, publisher, read_all):
    """What was rolled back was never said."""
    database, table, outbox, *_ = store
    async with database.write() as connection:
        await outbox.add(connection, ask(0))

    async def change_of_mind():
        async with database.write() as connection:
            await outbox.add(connection, ask(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await change_of_mind()
    await relayed(database, table, publisher)
    assert [dict(record.headers)["ce_id"] for record in await read_all(QUERY_REQUESTED)] == [b"q0"]


async def test_a_commit_wakes_the_relay(store, publisher, read_all):
    """The event leaves at once, not at the next poll."""
    database, table, outbox, *_ = store
    relay = relay_to(publisher, database, table, options=RelayOptions(poll_ms=60_000))
    database.on_commit(relay.wake)
    running = asyncio.create_task(relay.run())
    await asyncio.sleep(0.05)
    async with database.write() as connection:
        await outbox.add(connection, ask(0))
    await drained(relay)
    relay.stop()
    await running
    assert len(await read_all(QUERY_REQUESTED)) == 1


async def test_a_failed_send_holds_its_key_back_and_no_other(store, publisher):
    """Events of a key keep their order through failures."""
    database, table, outbox, *_ = store
    async with database.write() as connection:
        await outbox.add(connection, *(ask(number, key=f"k{number % 5}") for number in range(40)))
    flaky = Flaky(publisher, {"q5", "q6", "q21"})
    await relayed(database, table, flaky)
    for key in range(5):
        numbers = [int(each[1:]) for each in flaky.sent if int(each[1:]) % 5 == key]
        assert numbers == sorted(numbers)
        assert len(numbers) == 8


async def test_a_kill_between_publish_and_mark_sends_the_same_again(store, publisher, bus, tmp_path, read_all):
    """After kill -9 the rows are still unsent: the same ids and bytes appear a second time, and nothing is missing."""
    database, table, outbox, *_ = store
    async with database.write() as connection:
        await outbox.add(connection, *(ask(number) for number in range(3)))
    script = Path(__file__).parent / "relay_process.py"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        script,
        bus.bootstrap,
        tmp_path / "state.db",
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )
    assert await process.stdout.readline() == b"published\n"
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    await relayed(database, table, publisher)
    records = await read_all(QUERY_REQUESTED)
    assert [dict(record.headers)["ce_id"] for record in records] == [b"q0", b"q0", b"q1", b"q2"]
    numbers = [int(dict(record.headers)["ce_sequence"]) for record in records]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == 3
    first, again = records[:2]
    assert (first.value, tuple(first.headers)) == (again.value, tuple(again.headers))


async def test_a_new_bus_gets_the_unsent_and_the_repeatable(store, publisher):
    """Sent rows of inbox topics go to the new generation too; other sent rows are their owner's to resubmit."""
    database, table, outbox, *_ = store
    first, second = Flaky(publisher), Flaky(publisher)
    async with database.write() as connection:
        await outbox.add(connection, usage(0), ask(0))
    await relayed(database, table, first, generation="g1")
    async with database.write() as connection:
        await outbox.add(connection, usage(1), ask(1))
    await relayed(database, table, second, generation="g2")
    assert sorted(first.sent) == ["q0", "u0"]
    assert sorted(second.sent) == ["q1", "u0", "u1"]


async def test_sent_rows_are_pruned(store, publisher):
    """The outbox keeps a bounded tail."""
    database, table, outbox, *_ = store
    async with database.write() as connection:
        await outbox.add(connection, *(ask(number) for number in range(30)))
    options = RelayOptions(poll_ms=10, prune_interval_ms=0, prune_rows=7)
    relay = relay_to(publisher, database, table, options=options, keep_sent_rows=10)
    running = asyncio.create_task(relay.run())
    async with asyncio.timeout(60):
        kept = 30
        while kept > 10:
            await asyncio.sleep(0.01)
            async with database.read() as connection:
                kept = await connection.scalar(select(func.count()).select_from(table))
    relay.stop()
    await running
    assert kept == 10


class SlowCarrier(OneByOne):
    """Takes its time for each batch, like a transaction that waits for its broker."""

    def __init__(self, sender):
        super().__init__(sender)
        self.opened = 0

    async def open(self):
        """Count, and go on."""
        self.opened += 1
        return await super().open()

    async def carry(self, rows):
        """Take three times as long as an owner may be silent."""
        await asyncio.sleep(0.9 if rows else 0)
        return await super().carry(rows)


async def test_a_slow_transaction_does_not_cost_the_lease(store, publisher, tmp_path):
    """Replicas whose batches take longer than an owner may be silent do not fence each other: one relays all."""
    database, table, outbox, _, _ = store
    leases = await Database.open(tmp_path / "leases.db", LEASES.metadata)
    times = LeaseTimes(beat_ms=50, silent_max_ms=300)
    relays, carriers = [], []
    for owner in ("one", "two"):
        carriers.append(SlowCarrier(publisher))
        rows = OutboxStore(database, table, generation="g1", keep_sent_ms=60_000, keep_sent_rows=10_000)
        lease = Lease(leases, LEASES, "outbox", owner=owner, times=times)
        relays.append(Relay(rows, carriers[-1], lease=lease, options=RelayOptions(batch_rows=1, poll_ms=20)))
    async with database.write() as connection:
        await outbox.add(connection, *(usage(number) for number in range(3)))
    running = [asyncio.create_task(relay.run()) for relay in relays]
    await drained(relays[0])
    opened = sorted(each.opened for each in carriers)
    for relay in relays:
        relay.stop()
    await asyncio.gather(*running)
    await leases.close()
    assert opened == [0, 1]


async def test_an_event_delivered_twice_has_its_effect_once(store, publisher, consuming):
    """Three copies of every event: one row each in the ledger."""
    database, _, _, tables, effects = store
    inbox = Inbox(database, tables, generation="g1")

    async def rate(event):
        async with database.write() as connection:
            if await inbox.accept(connection, event):
                await connection.execute(insert(effects).values(event_id=event.envelope.id))
        return ()

    for _ in range(3):
        await publisher.publish(*(usage(number, key=f"t{number}") for number in range(20)))
    async with consuming(Subscription(USAGE_RECORDED, rate, rate), group="meter", options=FAST, offsets=inbox) as on:
        await until(lambda: on.ready and on.in_flight == 0 and sum(on.lag().values()) == 0)
    async with database.read() as connection:
        ids = list((await connection.scalars(select(effects.c.event_id))).all())
    assert sorted(ids) == sorted(f"u{number}" for number in range(20))
    stored = sum([await inbox.load(USAGE_RECORDED, partition) or 0 for partition in range(4)])
    assert 0 < stored <= 60
    assert await Inbox(database, tables, generation="g2").load(USAGE_RECORDED, 0) is None


async def test_facts_that_come_up_together_are_taken_in_together(store, publisher, consuming):
    """Each once, copies among them; the offset follows; and there are far fewer transactions than facts."""
    database, _, _, tables, effects = store
    inbox, calls = Inbox(database, tables, generation="g1"), []

    async def book(events):
        async with database.write() as connection:
            new = await inbox.accept_all(connection, events)
            calls.append([event.offset for event in new])
            for event in new:
                await connection.execute(insert(effects).values(event_id=event.envelope.id))

    async def book_one(event):
        await book([event])
        return ()

    for _ in range(2):
        await publisher.publish(*(usage(number) for number in range(200)))
    subscription = Subscription(USAGE_RECORDED, book_one, book_one, together=book)
    async with consuming(subscription, group="meter", options=FAST, offsets=inbox) as on:
        await until(lambda: on.ready and on.in_flight == 0 and sum(on.lag().values()) == 0)
    async with database.read() as connection:
        ids = (await connection.scalars(select(effects.c.event_id).order_by(effects.c.number))).all()
    assert ids == [f"u{number}" for number in range(200)]
    assert all(offsets == sorted(offsets) for offsets in calls)
    assert len(calls) < 100
    assert sum([await inbox.load(USAGE_RECORDED, partition) or 0 for partition in range(4)]) == 400


async def test_an_event_carries_its_number_and_the_same_bytes_whenever_it_is_sent(store, publisher, read_all, codec):
    """The number is the row's; a bus that forgot gets the record byte for byte again; what follows has its own."""
    database, table, outbox, _, _ = store
    stray = replace(usage(0), envelope=replace(usage(0).envelope, sequence="99"))
    async with database.write() as connection:
        await outbox.add(connection, stray, usage(1))
    await relayed(database, table, publisher)
    await relayed(database, table, publisher, generation="g2")
    records = await read_all(USAGE_RECORDED)
    first, again = records[:2], records[2:]
    assert [(each.value, each.headers) for each in first] == [(each.value, each.headers) for each in again]
    events = [await codec.decode(Received(one.topic, 0, 0, 1, one.key, one.value, tuple(one.headers))) for one in first]
    assert [event.envelope.sequence for event in events] == ["1", "2"]
    assert follow(events[0], USAGE_RECORDED, events[0].payload, stage="next").envelope.sequence == ""


async def test_an_event_that_its_number_makes_too_large_is_refused_when_it_is_added():
    """Not by the relay, where it would hold up all others."""
    outbox, largest = Outbox(outbox_table(MetaData()), Codec(Bus("nowhere:1"), None)), ask(0, source="/test")
    row = await outbox.encode(largest)
    sizes_bytes = [
        len(row["key"]),
        len(row["value"]),
        *(len(part) for each in json.loads(row["headers"]) for part in each),
    ]
    largest.payload.question += "x" * (RECORD_BYTES_MAX - sum(sizes_bytes))
    with pytest.raises(InvalidMessage, match="over"):
        await outbox.encode(largest)


async def test_what_has_no_effect_is_not_read_again_after_a_restart(store, publisher, consuming, read_all):
    """Poison at the tail and a burst of lanes: the stored offset is the end, and a restart finds nothing to do."""
    database, _, _, tables, _ = store
    inbox, endings = Inbox(database, tables, generation="g1"), []

    async def accept(event):
        async with database.write() as connection:
            await inbox.accept(connection, event)
        return ()

    async def ended(event, _ending):
        endings.append(event.envelope.id)
        return ()

    subscription = Subscription(USAGE_RECORDED, accept, ended)
    await publisher.publish(*(usage(number, key=f"t{number}") for number in range(40)))
    for number in range(8):
        await publisher.send(Record(USAGE_RECORDED, f"t{number}".encode(), b"\xff", (("ce_id", b"bad"),)))
    for _ in range(2):
        async with consuming(subscription, group="meter", options=FAST, offsets=inbox) as on:
            await until(lambda: on.ready and on.in_flight == 0 and sum(on.lag().values()) == 0)
    assert len(endings) == 8
    stored = [await inbox.load(USAGE_RECORDED, partition) for partition in range(4)]
    assert sum(filter(None, stored)) == 48


async def test_stored_offsets_only_move_forward(store):
    """A replica that lost its partition may store late: what another stored since stays."""
    database, _, _, tables, _ = store
    inbox = Inbox(database, tables, generation="g1")
    await inbox.store({(USAGE_RECORDED, 0): 7, (USAGE_RECORDED, 1): 3})
    await inbox.store({(USAGE_RECORDED, 0): 5, (USAGE_RECORDED, 1): 4})
    assert [await inbox.load(USAGE_RECORDED, partition) for partition in (0, 1, 2)] == [7, 4, None]


async def test_stored_offsets_never_pass_an_event_that_is_not_done(store):
    """Only what lies before the watermark, and the event itself when it is next, is read past after a restart."""
    database, _, _, tables, _ = store
    inbox = Inbox(database, tables, generation="g1")

    async def stored_after(offset, watermark):
        event = Event(usage(offset).envelope, None, USAGE_RECORDED, "k", 0, offset, None, watermark)
        async with database.write() as connection:
            assert await inbox.accept(connection, event)
        return await inbox.load(USAGE_RECORDED, 0)

    assert await stored_after(5, watermark=3) == 3
    assert await stored_after(3, watermark=3) == 4
    assert await stored_after(4, watermark=3) == 4
    assert await stored_after(6, watermark=6) == 7
