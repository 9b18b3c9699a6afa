"""The parts of a service: they live together, and a stop gives each the time that it needs."""

import asyncio

import pytest
from headrace_runtime.parts import STEP_S_MIN, PartDied, Parts, StopTime


async def test_a_stop_is_heard_before_the_service_is_ready():
    """A subscriber that never gets its partitions does not keep a service from stopping."""
    stopping = asyncio.Event()
    stopping.set()
    assert not await Parts().until(lambda: False, stopping)


async def test_ready_is_ready():
    """The condition is what is waited for."""
    answers = iter([False, False, True])
    assert await Parts().until(lambda: next(answers), asyncio.Event())


async def test_a_part_that_ends_before_the_service_is_ready_ends_it():
    """Nobody waits for a subscriber that is gone."""
    parts = Parts()
    parts.start(asyncio.sleep(0), "subscriber")
    with pytest.raises(PartDied, match="subscriber"):
        await parts.until(lambda: False, asyncio.Event())


def test_the_steps_of_a_stop_share_its_time():
    """What one step leaves is the next one's; one that used up all leaves the others a little."""
    now = 100.0
    left = StopTime(40, clock=lambda: now)
    assert left() == 40
    now += 30
    assert left() == 10
    now += 30
    assert left() == STEP_S_MIN
