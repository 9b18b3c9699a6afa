"""Membership in a consumer group, as on a real Kafka: rebalances lose nothing and move no offset past undone work."""

import asyncio
from collections import Counter
from contextlib import suppress

import pytest
from aiokafka.consumer import group_coordinator
from aiokafka.errors import NoOffsetForPartitionError
from bus_driving import ask, until
from headrace.topics import QUERY_REQUESTED
from headrace_messaging import Bus, SubscriberOptions, Subscription
from headrace_messaging.consuming.consumer import GroupConsumer
from headrace_messaging.consuming.partitions import Assignment
from headrace_messaging.retry.ladder import Ladder

OPTIONS = SubscriberOptions(commit_interval_ms=20, drain_ms=2_000, session_timeout_ms=1_500)
OFFSET_COMMIT = 8
ILLEGAL_GENERATION = 22


@pytest.fixture
def grouped(cluster):
    """Name the same cluster as a bus whose group membership is to be used."""
    return Bus(cluster.bootstrap)


@pytest.fixture(autouse=True)
def _leader_syncs_last(monkeypatch):
    # librdkafka's cluster refuses a follower whose SyncGroup comes after the leader's; a real broker does not.
    joined = group_coordinator.CoordinatorGroupRebalance._on_join_leader

    async def later(self, response):
        if len(response.members) > 1:
            await asyncio.sleep(0.25)
        return await joined(self, response)

    monkeypatch.setattr(group_coordinator.CoordinatorGroupRebalance, "_on_join_leader", later)


@pytest.fixture
async def joining(grouped):
    """Open a consumer that has just asked to join its group, and what it will be assigned."""
    ladder, assignment = Ladder([QUERY_REQUESTED], group="moderate", options=None), Assignment()
    consumer = GroupConsumer(grouped, ladder, group="moderate", options=OPTIONS, offsets=None, assignment=assignment)
    await consumer.open()
    yield consumer, assignment
    await consumer.close()


def counting(done, work_s=0.0):
    """Make a subscription that counts what is done."""

    async def handle(event):
        await asyncio.sleep(work_s)
        done[int(event.payload.question)] += 1
        return ()

    return Subscription(QUERY_REQUESTED, handle, handle)


async def test_a_second_member_takes_its_share_and_nothing_is_lost(publisher, consuming, grouped):
    """While work goes on a member joins and leaves: everything is done.

    How much is done twice is not asserted: unlike a real broker, this one refuses the commit at a revocation.
    """
    done, numbers = Counter(), 400
    await publisher.publish(*(ask(number, key=f"k{number}") for number in range(numbers)))
    async with consuming(counting(done, 0.02), on=grouped, options=OPTIONS) as first:
        await until(lambda: len(done) > 20)
        async with consuming(counting(done, 0.02), on=grouped, options=OPTIONS) as second:
            await until(lambda: second.ready and len(second.lag()) == 2 and len(first.lag()) == 2)
            await until(lambda: len(done) > 200)
        await until(lambda: len(done) == numbers)
    assert set(done) == set(range(numbers))


async def test_who_has_no_partition_to_look_into_waits_for_one(joining):
    """Between two assignments a fetch waits, also while a partition is searched that could not be read.

    One that came back at once would be called again at once: no heartbeat would get through for as long as the search.
    """
    consumer, assignment = joining
    consumer._unreadable.search()
    assert not len(assignment)
    others = asyncio.create_task(asyncio.sleep(0))
    with suppress(NoOffsetForPartitionError):
        await consumer.fetch()
    assert others.done()


async def test_a_position_that_is_not_known_yet_is_no_partition_that_cannot_be_read(joining):
    """What is assigned a moment before its positions are read is not searched for."""
    consumer, assignment = joining
    async with asyncio.timeout(60):
        while not assignment.known:
            with suppress(NoOffsetForPartitionError):
                await consumer.fetch()
            await asyncio.sleep(0.01)
    assert not consumer._unreadable.searching


async def test_a_refused_commit_is_tried_again(publisher, consuming, grouped, cluster):
    """A commit of an older generation is refused; the group is joined again and nothing is skipped."""
    done = Counter()
    async with consuming(counting(done), on=grouped, options=OPTIONS):
        await publisher.publish(*(ask(number, key=f"k{number}") for number in range(20)))
        cluster.push_errors(OFFSET_COMMIT, ILLEGAL_GENERATION, ILLEGAL_GENERATION, ILLEGAL_GENERATION)
        await until(lambda: len(done) == 20)
        await asyncio.sleep(0.2)
        await publisher.publish(*(ask(number, key=f"k{number}") for number in range(20, 40)))
        await until(lambda: len(done) == 40)
