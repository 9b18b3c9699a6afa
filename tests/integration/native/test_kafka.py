"""The Kafka is real: it has what the embedded bus lacks."""

import uuid

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import UnknownTopicOrPartitionError


@pytest.fixture
async def topic(native_kafka):
    """Create a topic of one partition, and wait until it has a leader."""
    return await created(native_kafka.bootstrap, replication_factor=1)


async def created(bootstrap, replication_factor):
    name = f"test.{uuid.uuid4()}"
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=replication_factor)])
    finally:
        await admin.close()
    return name


async def transacted(bootstrap, topic, *values, commit):
    """Send values in one transaction and end it."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"tx-{uuid.uuid4()}")
    await producer.start()
    try:
        await producer.begin_transaction()
        for value in values:
            await producer.send_and_wait(topic, value)
        await (producer.commit_transaction() if commit else producer.abort_transaction())
    finally:
        await producer.stop()


async def read(bootstrap, topic, count, isolation_level):
    """Read `count` values from the topic's beginning."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest", isolation_level=isolation_level
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        return [(await consumer.getone()).value for _ in range(count)]
    finally:
        await consumer.stop()


async def test_an_aborted_transaction_is_invisible_to_read_committed_readers(native_kafka, topic):
    """What was aborted is in the log, and only uncommitted readers see it."""
    bootstrap = native_kafka.bootstrap
    await transacted(bootstrap, topic, b"aborted", commit=False)
    await transacted(bootstrap, topic, b"kept", b"kept too", commit=True)
    assert await read(bootstrap, topic, 2, "read_committed") == [b"kept", b"kept too"]
    assert await read(bootstrap, topic, 3, "read_uncommitted") == [b"aborted", b"kept", b"kept too"]


async def test_a_topic_is_never_made_by_use(native_kafka):
    """Auto-creation is off, as in production."""
    producer = AIOKafkaProducer(bootstrap_servers=native_kafka.bootstrap, request_timeout_ms=1_000)
    await producer.start()
    try:
        with pytest.raises(UnknownTopicOrPartitionError):
            await producer.send_and_wait(f"test.{uuid.uuid4()}", b"lost")
    finally:
        await producer.stop()


async def test_records_survive_a_kill_of_the_broker(own_server):
    """After kill -9 and a start on the same ports, what was acknowledged is there."""
    server = own_server("kafka")
    (broker,) = server.processes
    topic = await created(server.address, replication_factor=1)
    await transacted(server.address, topic, b"durable", commit=True)
    broker.kill()
    assert broker.pid is None
    broker.start()
    broker.wait_ready()
    assert await read(server.address, topic, 1, "read_committed") == [b"durable"]


async def test_a_cluster_of_three_goes_on_without_one_broker(own_server):
    """Two of three in-sync replicas take and serve records."""
    server = own_server("kafka3")
    topic = await created(server.address, replication_factor=3)
    await transacted(server.address, topic, b"before", commit=True)
    server.processes[0].kill()
    await transacted(server.address, topic, b"after", commit=True)
    assert await read(server.address, topic, 2, "read_committed") == [b"before", b"after"]
