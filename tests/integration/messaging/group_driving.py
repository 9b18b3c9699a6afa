"""Replicas of one service on a real Kafka, the faults that befall them, and what an outsider counts of it all."""

import asyncio
import json
import os
import signal
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError
from bus_driving import partitions_of, until
from headrace.topics import QUERY_REQUESTED, derived, topic

SCRIPT = Path(__file__).parent / "member_process.py"
GROUP = "moderate"
RETRIES = [topic(QUERY_REQUESTED).retries(GROUP, delay) for delay in derived().retry_delays_ms]
DEAD_LETTERS = topic(QUERY_REQUESTED).dead_letters(GROUP)
TOPICS = [QUERY_REQUESTED, *RETRIES, DEAD_LETTERS]
PLACES = [TopicPartition(QUERY_REQUESTED, number) for number in range(topic(QUERY_REQUESTED).partitions)]
OPTIONS = {"lanes": 8, "in_flight_max": 32, "ahead_max": 32}


async def renew_topics(bootstrap, names, *, replicas=1):
    """Make topics anew, empty, with a leader for each partition; what groups committed on them is forgotten."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        present = set(await admin.list_topics())
        if gone := [name for name in names if name in present]:
            await admin.delete_topics(gone)
        async with asyncio.timeout(120):
            while present & set(names):
                await asyncio.sleep(0.05)
                present = set(await admin.list_topics())
            await admin.create_topics([NewTopic(name, partitions_of(name), replicas) for name in names])
    finally:
        await admin.close()
    # Asked until it is answered: a leader may be named before it knows.
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer, asyncio.timeout(120):
        await consumer.end_offsets(
            [TopicPartition(name, each) for name in names for each in range(partitions_of(name))]
        )


@dataclass
class Member:
    """One replica that runs."""

    name: str
    process: asyncio.subprocess.Process

    def signal(self, number):
        """Send it a signal."""
        self.process.send_signal(number)

    async def stop(self):
        """End it in order; it must leave with status 0."""
        self.signal(signal.SIGTERM)
        assert await asyncio.wait_for(self.process.wait(), 120) == 0

    async def kill(self):
        """End it at once."""
        self.signal(signal.SIGKILL)
        await self.process.wait()


class Members:
    """The replicas of one test, and the group's offsets as an outsider sees them."""

    def __init__(self, bootstrap, folder, *, work_s=0.01, **options):
        self._bootstrap, self._folder, self._work_s = bootstrap, folder, work_s
        self._options = OPTIONS | options
        self.running = []
        self._admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        self._watching = None
        self.committed = defaultdict(list)

    async def __aenter__(self):
        await self._admin.start()
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_):
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        await self._admin.close()
        for member in self.running:
            if member.process.returncode is None:
                await member.kill()

    async def start(self, name, **options):
        """Start a replica; it has not joined yet."""
        arguments = [self._bootstrap, str(self._folder / f"{name}.log"), str(self._work_s)]
        output = (self._folder / f"{name}.out").open("ab")
        process = await asyncio.create_subprocess_exec(
            sys.executable, SCRIPT, *arguments, json.dumps(self._options | options), stdout=output, stderr=output,
            env=os.environ | {"PYTHONWARNINGS": "ignore"},
        )  # fmt: skip
        output.close()
        self.running.append(member := Member(name, process))
        return member

    async def coordinator(self):
        """Return the number of the broker that coordinates the group."""
        return await self._admin.find_coordinator(GROUP)

    def deliveries(self, name=None):
        """Return (time, partition, key, number, outcome) of every handler's call, in time; of one replica or of all."""
        logs = [self._folder / f"{name}.log"] if name else self._folder.glob("*.log")
        lines = [line.split() for log in logs if log.exists() for line in log.read_text().splitlines()]
        return sorted((int(at), int(partition), key, int(number), how) for at, partition, key, number, how in lines)

    def handled(self, name=None):
        """Return the numbers that were handled at least once."""
        return {number for *_, number, how in self.deliveries(name) if how == "done"}

    def partitions(self, name):
        """Return the partitions of which a replica handled something, among the latest of its deliveries."""
        return {partition for _, partition, *_ in self.deliveries(name)[-100:]}

    def duplicates(self):
        """Return how often a message was done when it had been done before."""
        done = Counter(number for *_, number, how in self.deliveries() if how == "done")
        return sum(count - 1 for count in done.values())

    def said(self, name, what):
        """Return how often a replica logged something."""
        return (self._folder / f"{name}.out").read_text().count(what)

    def assert_order(self):
        """Assert that every key's messages were first delivered, and first done, in the order of publication."""
        for outcomes in ({"failed", "done"}, {"done"}):
            first = defaultdict(dict)
            for _, _, key, number, how in self.deliveries():
                if how in outcomes:
                    first[key].setdefault(number, None)
            broken = {key: list(numbers) for key, numbers in first.items() if list(numbers) != sorted(numbers)}
            assert not broken

    def assert_commits_never_go_back(self):
        """Assert that nobody who lost a partition moved its offset back."""
        assert self.committed
        assert all(offsets == sorted(offsets) for offsets in self.committed.values()), dict(self.committed)

    def outage(self):
        """Make unavailable what every fifth key needs; return what ends it."""
        marker = self._folder / "outage"
        marker.touch()
        return marker.unlink

    async def until_idle(self, numbers, within_s=180):
        """Wait until every number was handled and everything is committed."""
        try:
            await self.until(lambda: self.handled() >= set(numbers), within_s)
        except TimeoutError:
            missing = sorted(set(numbers) - self.handled())
            raise AssertionError(f"{len(missing)} of {len(numbers)} were not handled: {missing[:20]}") from None
        await self.until(lambda: sum(offsets[-1] for offsets in self.committed.values()) >= len(numbers), within_s)

    async def until(self, condition, within_s=120):
        """Wait until a condition on what the replicas did holds; not asked too often, for each time reads all logs."""
        await until(lambda: self._watching.done() or condition(), within_s, every_s=0.05)
        if self._watching.done():
            self._watching.result()  # raises what ended it

    async def _watch(self):
        while True:
            try:
                found = await self._admin.list_consumer_group_offsets(GROUP, partitions=PLACES)
            except (KafkaError, OSError, TimeoutError):
                found = {}  # its coordinator is away
            for place, offset in found.items():
                if offset.offset >= 0 and self.committed[place][-1:] != [offset.offset]:
                    self.committed[place].append(offset.offset)
            await asyncio.sleep(0.1)
