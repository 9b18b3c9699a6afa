"""Whoever reads our topics sees what was committed, all of it, and nothing that was not."""

import asyncio
import uuid

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from headrace.topics import BUDGET_CROSSED, FEEDBACK_SUBMITTED, topic
from headrace_client import Endpoints
from headrace_client.outcomes import TopicReader
from headrace_messaging import Codec, Outgoing, Publisher, Subscriber, SubscriberOptions, Subscription, new_envelope


@pytest.fixture
async def transactions(provisioned_kafka):
    """Send events in one transaction, which commits or aborts."""
    producer = AIOKafkaProducer(
        bootstrap_servers=provisioned_kafka.bootstrap, transactional_id=f"test-{uuid.uuid4().hex}", acks="all"
    )
    await producer.start()
    codec = Codec(provisioned_kafka, None)

    async def send(name, *ids, commit=True):
        await producer.begin_transaction()
        for event_id in ids:
            envelope = new_envelope(name, source="/test", id=event_id, tenant="acme")
            record = await codec.encode(Outgoing(name, event_id, topic(name).message(), envelope))
            await (await producer.send(name, record.value, key=record.key, headers=list(record.headers)))
        await (producer.commit_transaction if commit else producer.abort_transaction)()

    yield send
    await producer.stop()


async def test_the_sdk_reads_committed_events_to_the_end_and_no_others(provisioned_kafka, transactions):
    """`tail`, reconciliation and whoever awaits an outcome use this reader; marks at the end do not hold it up."""
    ids = [f"{uuid.uuid4()}" for _ in range(6)]
    await transactions(BUDGET_CROSSED, *ids[:3])
    await transactions(BUDGET_CROSSED, *ids[3:], commit=False)
    endpoints = Endpoints(bootstrap=provisioned_kafka.bootstrap, services={})
    reader = TopicReader(endpoints, Codec(provisioned_kafka, None), BUDGET_CROSSED, from_beginning=True)
    await reader.start()
    async with asyncio.timeout(120):
        seen = {event.envelope.id async for event in reader.events_so_far()}
    await reader.stop()
    assert seen & set(ids) == set(ids[:3])


async def test_a_subscriber_handles_what_was_committed_and_has_no_lag_then(provisioned_kafka, transactions):
    """The marks of transactions are passed and committed over: nothing is left that looks like work."""
    ids, seen = [f"{uuid.uuid4()}" for _ in range(8)], []
    await transactions(FEEDBACK_SUBMITTED, *ids[:4])
    await transactions(FEEDBACK_SUBMITTED, *ids[4:], commit=False)

    async def handle(event):
        seen.append(event.envelope.id)
        return ()

    codec = Codec(provisioned_kafka, None)
    publisher = Publisher(provisioned_kafka, codec, client_id="test")
    await publisher.start()
    subscription = Subscription(FEEDBACK_SUBMITTED, handle, handle)
    options = SubscriberOptions(commit_interval_ms=20)
    subscriber = Subscriber(
        provisioned_kafka, [subscription], group="moderate", publisher=publisher, codec=codec, options=options
    )
    running = asyncio.create_task(subscriber.run())
    async with asyncio.timeout(120):
        while not (subscriber.ready and len(set(seen) & set(ids)) == 4 and sum(subscriber.lag().values()) == 0):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    subscriber.stop()
    await running
    await publisher.stop()
    assert set(seen) & set(ids) == set(ids[:4])
    assert await behind(provisioned_kafka, FEEDBACK_SUBMITTED, "moderate") == 0


async def behind(bus, name, group):
    """Return a group's lag on a topic as Kafka itself would tell it."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bus.bootstrap, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        places = [TopicPartition(name, number) for number in range(topic(name).partitions)]
        ends = await consumer.end_offsets(places)
        return sum([ends[place] - (await consumer.committed(place) or 0) for place in places])
    finally:
        await consumer.stop()
