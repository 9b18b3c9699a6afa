"""A service with an outbox and a topic of its own on a real Kafka, and what a reader of committed records sees."""

import asyncio
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
import tempfile
import uuid
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from headrace.topics import outbox_checkpoint
from headrace_messaging import Bus
from headrace_messaging.provisioning import Cluster, WantedTopic, mend

sys.path.insert(0, str(Path(__file__).parent))

from service_process import Work, counts, open_database, run

PARTITIONS = 3
# Processes are forked from one that has imported everything: a kill then costs 50 ms and not seconds.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["service_process"])


@pytest.fixture(scope="session", autouse=True)
def _forkserver_finds_the_module():
    # It is told the names of what to import, and not where that lies.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        multiprocessing.forkserver.ensure_running()
        yield


async def make_topics(bus, service, topic):
    """Make a topic, and the checkpoint topic of a service's outbox."""
    settings = {"cleanup.policy": "delete"}
    checkpoint = WantedTopic(outbox_checkpoint(service), 1, 1, {"cleanup.policy": "compact"})
    async with Cluster.connect(bus.bootstrap) as cluster:
        await mend(cluster, [WantedTopic(topic, PARTITIONS, 1, settings), checkpoint])


async def read_committed(bus, topic):
    """Return what lies on a topic, in order per partition, as a reader of committed records sees it."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bus.bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
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


class Running:
    """One process of the service."""

    def __init__(self, work: Work) -> None:
        self.process = PROCESSES.Process(target=run, args=(work,), daemon=True)
        self.process.start()

    async def ended_within(self, seconds):
        """Wait for its end; False when it still runs."""
        await asyncio.to_thread(self.process.join, seconds)
        if self.process.is_alive():
            return False
        assert self.process.exitcode == 0
        return True

    async def kill(self):
        """End it without a word."""
        self.process.kill()
        await asyncio.to_thread(self.process.join)

    async def freeze(self, seconds):
        """Stop it where it is, and let it go on."""
        if self.process.is_alive():
            os.kill(self.process.pid, signal.SIGSTOP)
            await asyncio.sleep(seconds)
            os.kill(self.process.pid, signal.SIGCONT)


class ServiceUnderTest:
    """Starts processes of one service, and compares what they wrote with what is on the topic."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def start(self, instance="a") -> Running:
        """Start a replica."""
        return Running(replace(self.work, instance=instance))

    async def written(self):
        """Return the count of each key, as the database has it."""
        database = await open_database(self.work)
        try:
            return await counts(database)
        finally:
            await database.close()

    async def published(self):
        """Return the numbers of each key, in the order in which they are on the topic."""
        numbers = defaultdict(list)
        for record in await read_committed(Bus(self.work.bootstrap), self.work.topic):
            numbers[record.key.decode()].append(int(record.value))
        return dict(numbers)

    async def assert_exactly_once(self):
        """Every number of every key is on the topic, once, in order."""
        written, published = await self.written(), await self.published()
        assert sum(written.values()) >= self.work.total
        assert published == {key: list(range(1, number + 1)) for key, number in written.items()}


@pytest.fixture
def service_on():
    """Make a service with topics of its own on a Kafka and a database."""

    async def make(bus, database, *, total):
        name = f"test-{uuid.uuid4().hex[:8]}"
        work = Work(bus.bootstrap, database, name, "a", f"headrace.{name}.v1", total)
        await make_topics(bus, name, work.topic)
        return ServiceUnderTest(work)

    return make


@pytest.fixture
def database_of(request):
    """Name an empty database of a kind; SQLite's lies in memory if it can: a kill is no power cut."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield (
            lambda kind: (
                str(Path(folder) / "state.db") if kind == "sqlite" else request.getfixturevalue("native_postgres")
            )
        )
