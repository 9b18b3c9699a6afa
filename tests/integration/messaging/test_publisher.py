"""The publisher on a real bus, and what it does when the bus fails it."""

import asyncio

import pytest
from bus_driving import ask, until
from headrace.topics import QUERY_REQUESTED
from headrace_errors import InvalidMessage, Unavailable
from headrace_messaging import Record, Subscription
from headrace_messaging.publishing.pressure import BusGate, PressureLimits

PRODUCE = 0
NOT_LEADER, OUT_OF_ORDER = 6, 45


async def test_what_is_published_together_is_acknowledged_together(publisher, read_all):
    """Every event is on the bus on return, one key's in order."""
    await publisher.publish(*(ask(number, key=f"k{number % 3}") for number in range(60)))
    records = await read_all(QUERY_REQUESTED)
    for key in (b"k0", b"k1", b"k2"):
        numbers = [int(dict(record.headers)["ce_id"][1:]) for record in records if record.key == key]
        assert numbers == sorted(numbers)
        assert len(numbers) == 20


async def test_a_retriable_produce_error_is_not_seen(cluster, publisher, read_all):
    """The client underneath sends again by itself."""
    cluster.push_errors(PRODUCE, NOT_LEADER, NOT_LEADER)
    await publisher.publish(ask(0))
    assert len(await read_all(QUERY_REQUESTED)) == 1


async def test_after_a_non_retriable_produce_error_the_next_send_succeeds(cluster, publisher, read_all):
    """The send fails as unavailable; the client, whose sequence has a gap, is replaced."""
    await publisher.publish(ask(0))
    cluster.push_errors(PRODUCE, OUT_OF_ORDER)
    with pytest.raises(Unavailable):
        await publisher.publish(ask(1))
    assert publisher.alive
    await publisher.publish(ask(1))
    assert [dict(record.headers)["ce_id"] for record in await read_all(QUERY_REQUESTED)] == [b"q0", b"q1"]


async def test_a_bus_that_is_down_is_unavailable_and_then_it_is_not(cluster, publisher, read_all):
    """Sends are bounded in time; when the bus is back they succeed, by a fresh client."""
    await publisher.publish(ask(0))
    cluster.set_down()
    with pytest.raises(Unavailable):
        await publisher.publish(ask(1))
    cluster.set_up()
    async with asyncio.timeout(60):
        while True:
            try:
                await publisher.publish(ask(1))
                break
            except Unavailable:
                await asyncio.sleep(0.05)
    assert {dict(record.headers)["ce_id"] for record in await read_all(QUERY_REQUESTED)} == {b"q0", b"q1"}


async def test_a_dead_sender_shows_in_liveness_and_is_replaced_by_the_next_send(publisher):
    """No ping would notice; `alive` looks at the task."""
    await publisher.publish(ask(0))
    assert publisher.alive
    publisher._client._sender.sender_task.cancel()
    await until(lambda: not publisher.alive)
    await publisher.publish(ask(1))
    assert publisher.alive


async def test_unknown_topics_and_oversized_records_never_reach_the_bus(publisher):
    """The embedded bus would create the one and take the other."""
    with pytest.raises(KeyError, match=r"topics\.yaml"):
        await publisher.send(Record("headrace.query.requsted.v1", b"k", b"", ()))
    with pytest.raises(InvalidMessage):
        await publisher.send(Record(QUERY_REQUESTED, b"k", b"x" * 1024 * 1024, (("a", b"b"),)))


async def test_a_full_partition_holds_producers_until_its_consumers_commit(publisher, consuming):
    """Back-pressure by the group's committed offsets, as the bus has them."""
    publisher._gate = BusGate(publisher._committed.of, PressureLimits(records_max=20, wait_max_ms=300))
    with pytest.raises(Unavailable) as caught:
        await publisher.publish(*(ask(number) for number in range(30)))
    assert caught.value.reason == "bus_full"
    seen = []

    async def handle(event):
        seen.append(event.envelope.id)
        return ()

    async with consuming(Subscription(QUERY_REQUESTED, handle, handle)):
        await until(lambda: len(seen) == 20)
        await publisher.publish(*(ask(number) for number in range(20, 40)))
        await until(lambda: len(seen) == 40)
