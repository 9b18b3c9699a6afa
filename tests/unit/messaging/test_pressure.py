"""The gate that keeps the embedded bus from dropping what nobody has read."""

import asyncio

import pytest
from headrace.topics import COST_RECORDED, USAGE_RECORDED
from headrace_errors import Unavailable
from headrace_messaging.publishing.pressure import BusGate, PressureLimits


class Bus:
    """A bus of one partition and one consuming group, whose committed offset the test moves."""

    def __init__(self, **limits):
        self.committed = 0
        self.asked = 0
        self.end = 0
        self.gate = BusGate(self.offsets, PressureLimits(**({"wait_max_ms": 5, "poll_ms": 0} | limits)))

    async def offsets(self, _group, _topic):
        """Return the group's offsets, as the bus would."""
        self.asked += 1
        return {0: self.committed}

    async def publish(self, size_bytes, topic=USAGE_RECORDED, acknowledged=True):
        """Admit and settle one record."""
        await self.gate.admit(topic, 0, size_bytes)
        self.gate.settle(topic, 0, size_bytes, self.end if acknowledged else None)
        self.end += acknowledged


async def test_producers_stop_at_the_limit_until_consumers_catch_up():
    """Bytes since the slowest group's offset stay under the limit; a commit makes room."""
    bus = Bus(bytes_max=100)
    for _ in range(10):
        await bus.publish(10)
    with pytest.raises(Unavailable) as caught:
        await bus.publish(10)
    assert caught.value.reason == "bus_full"
    bus.committed = 5
    for _ in range(5):
        await bus.publish(10)
    with pytest.raises(Unavailable):
        await bus.publish(10)


async def test_records_count_too():
    """Many small records fill a partition as well."""
    bus = Bus(records_max=3)
    for _ in range(3):
        await bus.publish(1)
    with pytest.raises(Unavailable):
        await bus.publish(1)


async def test_the_bus_is_not_asked_while_there_is_room():
    """Under light load back-pressure costs no request."""
    bus = Bus(records_max=100)
    for _ in range(100):
        await bus.publish(1)
    assert bus.asked == 0


async def test_what_failed_takes_no_room():
    """A record that was never acknowledged does not count for ever."""
    bus = Bus(bytes_max=100)
    for _ in range(50):
        await bus.publish(10, acknowledged=False)
    await bus.publish(100)


async def test_other_producers_records_count_by_mean_size():
    """Offsets between ours were somebody else's; they are assumed as large as ours."""
    bus = Bus(bytes_max=100)
    await bus.publish(10)
    bus.end = 9
    await bus.publish(10)
    with pytest.raises(Unavailable):
        await bus.publish(10)


async def test_topics_without_a_consuming_service_are_not_held_back():
    """Nobody would ever make room."""
    bus = Bus(records_max=1)
    for _ in range(5):
        await bus.publish(1, topic=COST_RECORDED)


async def test_waiting_producers_go_on_when_room_is_made():
    """They wait rather than fail, and share one look at the bus."""
    bus = Bus(records_max=2, wait_max_ms=5_000)
    await bus.publish(1)
    await bus.publish(1)
    waiting = [asyncio.create_task(bus.publish(1)) for _ in range(2)]
    await asyncio.sleep(0)
    bus.committed = 2
    await asyncio.gather(*waiting)
