"""A real embedded bus in this process, and what reads and fills it."""

import asyncio
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from headrace.topics import environments
from headrace_devbroker import EmbeddedCluster
from headrace_messaging import Bus, Codec, Publisher, PublisherLimits, Subscriber
from headrace_messaging.provisioning import wanted_topics
from headrace_storage import ObjectBlobs

sys.path.insert(0, str(Path(__file__).parent))

from bus_driving import partitions_of


@pytest.fixture
def cluster():
    """Start an embedded bus with every declared topic, dead-letter topic and retry topic."""
    with EmbeddedCluster() as started:
        for wanted in wanted_topics(environments()["development"]):
            started.create_topic(wanted.name, wanted.partitions)
        yield started


@pytest.fixture
def bus(cluster):
    """Name the bus."""
    return Bus(cluster.bootstrap, "g1", embedded=True)


@pytest.fixture
def codec(bus, tmp_path):
    """Make a codec with a blob store in a folder."""
    return Codec(bus, ObjectBlobs.in_folder(tmp_path / "blobs"))


@pytest.fixture
async def publisher(bus, codec):
    """Connect a publisher whose sends fail fast on the embedded bus."""
    limits = PublisherLimits(send_timeout_ms=2_000 if bus.embedded else 10_000)
    connected = Publisher(bus, codec, client_id="test", limits=limits)
    await connected.start()
    yield connected
    await connected.stop()


@pytest.fixture
def consuming(bus, publisher, codec):
    """Run a subscriber for the length of a block."""

    @asynccontextmanager
    async def run(*subscriptions, **options):
        group, on = options.pop("group", "moderate"), options.pop("on", bus)
        subscriber = Subscriber(on, subscriptions, group=group, publisher=publisher, codec=codec, **options)
        running = asyncio.create_task(subscriber.run())
        try:
            yield subscriber
        finally:
            subscriber.stop()
            await running

    return run


@pytest.fixture
def read_all(bus):
    """Read a topic from its beginning to its present end, partition by partition."""

    async def read(topic):
        consumer = AIOKafkaConsumer(
            bootstrap_servers=bus.bootstrap, auto_offset_reset="earliest", check_crcs=False, fetch_max_wait_ms=5
        )
        await consumer.start()
        try:
            places = [TopicPartition(topic, number) for number in range(partitions_of(topic))]
            consumer.assign(places)
            for place, offset in (await consumer.beginning_offsets(places)).items():
                consumer.seek(place, offset)
            ends, found = await consumer.end_offsets(places), []
            while any([await consumer.position(place) < ends[place] for place in places]):
                for records in (await consumer.getmany(timeout_ms=50)).values():
                    found += records
            return found
        finally:
            await consumer.stop()

    return read
