"""What can go wrong inside a transaction, one by one, on a real Kafka: nothing is lost, nothing is there twice."""

import asyncio
import contextlib
import json
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaTimeoutError
from conftest import read_committed
from headrace.topics import outbox_checkpoint
from headrace_messaging import Record
from headrace_messaging.backoff import Backoff
from headrace_messaging.outbox import Relay, RelayOptions
from headrace_messaging.outbox.rows import to_row
from headrace_messaging.outbox.store import OutboxStore
from headrace_messaging.outbox.transactional import InTransactions
from headrace_messaging.provisioning import Cluster
from headrace_messaging.publishing.producers import PublisherLimits
from headrace_storage import Database
from service_process import METADATA, OUTBOX
from sqlalchemy import insert

OPTIONS = RelayOptions(poll_ms=50, backoff=Backoff(min_ms=5, max_ms=50))


class Relaying:
    """An outbox with its relay in this process."""

    def __init__(self, bus, work, database, store) -> None:
        self.bus, self.work, self.database, self.store = bus, work, database, store
        self.carrier = InTransactions(
            bus,
            transactional_id=f"headrace.{work.service}.outbox",
            checkpoint=outbox_checkpoint(work.service),
            limits=PublisherLimits(send_timeout_ms=5_000),
        )

    @asynccontextmanager
    async def running(self):
        """Relay for the length of a block."""
        relay = Relay(self.store, self.carrier, options=OPTIONS)
        self.database.on_commit(relay.wake)
        task = asyncio.create_task(relay.run())
        try:
            yield relay
        finally:
            relay.stop()
            await task

    async def add(self, *numbers, value=b"", topic=None):
        """Add events of these numbers in one transaction."""
        rows = [
            to_row(
                Record(topic or self.work.topic, f"k{number % 5}".encode(), value, (("ce_id", str(number).encode()),))
            )
            for number in numbers
        ]
        async with self.database.write() as connection:
            await connection.execute(insert(OUTBOX), rows)

    async def drained(self):
        """Wait until nothing is unsent."""
        async with asyncio.timeout(120):
            while await self.store.pending():  # noqa: ASYNC110 - the database is what is asked
                await asyncio.sleep(0.01)

    async def published(self):
        """Return the numbers on the topic, sorted, repeats and all."""
        records = await read_committed(self.bus, self.work.topic)
        return sorted(int(dict(record.headers)["ce_id"]) for record in records)


@pytest.fixture
async def relaying(native_kafka, service_on, database_of):
    """Make an outbox on an empty database."""
    service = await service_on(native_kafka, database_of("sqlite"), total=0)
    database = await Database.open(Path(service.work.database), METADATA)
    store = OutboxStore(database, OUTBOX, generation="", keep_sent_ms=0, keep_sent_rows=0)
    yield Relaying(native_kafka, service.work, database, store)
    await database.close()


async def test_sent_rows_leave_the_outbox(relaying):
    """The topic is the record: the outbox holds what is still to be sent, and nothing else."""
    async with relaying.running():
        await relaying.add(*range(600))
        await relaying.drained()
    assert await relaying.published() == list(range(600))


async def test_a_restart_sends_nothing_again(relaying):
    """A bus that persists has what it was given; even what its consumers would recognise is not repeated."""
    await relaying.add(0, 1, 2)
    for _ in range(3):
        async with relaying.running():
            await relaying.drained()
    assert await relaying.published() == [0, 1, 2]


async def test_a_commit_whose_answer_is_lost_is_not_repeated(relaying):
    """The broker has committed, and the relay is told of a timeout: the checkpoint tells it better."""
    async with relaying.running():
        await relaying.add(0)
        await relaying.drained()
        client = relaying.carrier._client
        commit = client.commit_transaction

        async def commit_and_lose_the_answer():
            await commit()
            raise KafkaTimeoutError

        client.commit_transaction = commit_and_lose_the_answer
        await relaying.add(1, 2)
        await relaying.drained()
        assert relaying.carrier._client is not client
        await relaying.add(3)
        await relaying.drained()
    assert await relaying.published() == [0, 1, 2, 3]


async def test_a_send_that_is_refused_undoes_its_whole_batch(relaying):
    """A non-retriable produce error: the other rows of the transaction are seen only when all of them can be sent."""
    await set_up(relaying, "max.message.bytes", "1000")
    await relaying.add(0, 1, 2)
    await relaying.add(3, value=bytes(2_000))
    async with relaying.running() as relay:
        async with asyncio.timeout(120):
            while relay._failures < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert await relaying.published() == []
        await set_up(relaying, "max.message.bytes", "100000")
        await relaying.drained()
    assert await relaying.published() == [0, 1, 2, 3]


async def test_a_dead_sender_task_is_replaced(relaying):
    """No error says that it is gone; the next batch finds out and is sent."""
    async with relaying.running():
        await relaying.add(0)
        await relaying.drained()
        relaying.carrier._client._sender.sender_task.cancel()
        await relaying.add(1)
        await relaying.drained()
    assert await relaying.published() == [0, 1]


async def test_who_comes_second_fences_off_the_first(relaying):
    """A relay that still believes in its lease cannot commit any more, and what it had sent is not seen."""
    await relaying.add(0)
    first = relaying.carrier
    await first.open()
    rows = await relaying.store.unsent(10)
    relaying.carrier = InTransactions(
        relaying.bus, transactional_id=first._transactional_id, checkpoint=first._place.topic
    )
    async with relaying.running():
        await relaying.drained()
        with contextlib.suppress(Exception):
            await first.carry(rows)
        await first.close()
    assert await relaying.published() == [0]


async def test_a_new_database_sends_its_rows_although_an_old_checkpoint_has_their_numbers(relaying):
    """Numbers begin at 1 again; what was added after the checkpoint cannot be what it speaks of."""
    await relaying.carrier.open()
    checkpoint = {"rows": [1, 2, 3], "added_until_ms": int(time.time() * 1000) - 1}
    client = relaying.carrier._client
    async with client.transaction():
        await write_checkpoint(client, relaying, json.dumps(checkpoint).encode())
    await relaying.carrier.close()
    await relaying.add(0, 1, 2, 3)
    async with relaying.running():
        await relaying.drained()
    assert await relaying.published() == [0, 1, 2, 3]


async def test_a_checkpoint_behind_many_aborted_transactions_is_found(relaying):
    """They leave their records and marks in the log; the search goes back as far as it must."""
    await relaying.add(0)
    async with relaying.running():
        await relaying.drained()
    await relaying.carrier.open()
    client = relaying.carrier._client
    for _ in range(80):
        await client.begin_transaction()
        await write_checkpoint(client, relaying, b"{}")
        await client.abort_transaction()
    await relaying.carrier.close()
    assert list((await relaying.carrier.open()).rows) == [1]
    await relaying.carrier.close()


async def write_checkpoint(client, relaying, value):
    """Write a checkpoint in the client's open transaction."""
    sent = await client.send(outbox_checkpoint(relaying.work.service), value, key=b"checkpoint", partition=0)
    await sent


async def set_up(relaying, setting, value):
    """Change a setting of the topic, and wait until the broker has it."""
    topic = relaying.work.topic
    admin = AIOKafkaAdminClient(bootstrap_servers=relaying.bus.bootstrap)
    await admin.start()
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {setting: value})])
    finally:
        await admin.close()
    async with Cluster.connect(relaying.bus.bootstrap) as cluster, asyncio.timeout(60):
        while (await cluster.describe([topic]))[topic].settings[setting] != value:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
