"""So many calls at a time, so many that wait, and for the others a hint when to return."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from headrace_errors import DeadlineExceeded, Overloaded
from headrace_generate.adapters.permits import QueuedPermits

START = datetime(2026, 11, 21, tzinfo=UTC)
LATER = START + timedelta(seconds=60)


class World:
    def __init__(self, calls: int, waiting: int) -> None:
        self.now = START
        self.permits = QueuedPermits(calls, waiting, lambda: self.now)
        self.ends: list[asyncio.Event] = []

    async def call(self) -> str:
        try:
            async with self.permits.until(LATER):
                end = asyncio.Event()
                self.ends.append(end)
                await end.wait()
        except Overloaded as error:
            return f"after {error.retry_after_s:g}"
        return "done"

    async def begin(self) -> "asyncio.Task[str]":
        task = asyncio.create_task(self.call())
        await asyncio.sleep(0)
        return task


async def test_who_finds_too_many_waiting_is_turned_away_at_once():
    """Two run, one waits, the fourth hears when to come back; nothing it could have spent was spent."""
    world = World(calls=2, waiting=1)
    tasks = [await world.begin() for _ in range(4)]
    assert tasks[3].result() == "after 0.5"
    for _ in range(3):
        await asyncio.sleep(0)
        for end in world.ends:
            end.set()
        await asyncio.sleep(0)
    assert await asyncio.gather(*tasks[:3]) == ["done"] * 3


async def test_the_hint_follows_what_calls_take():
    """Calls of ten seconds: with one running and one waiting, the next place is further off than the first guess."""
    world = World(calls=1, waiting=1)
    for _ in range(30):
        task = await world.begin()
        world.now += timedelta(seconds=10)
        world.ends.pop().set()
        await task
    running, waiting = await world.begin(), await world.begin()
    assert 9.5 < float((await world.call()).removeprefix("after ")) <= 10
    for task in (running, waiting):
        task.cancel()
    await asyncio.gather(running, waiting, return_exceptions=True)


async def test_whoever_leaves_while_waiting_makes_room():
    """A place in the queue is given back."""
    world = World(calls=1, waiting=1)
    await world.begin()
    waiting = await world.begin()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not (await world.begin()).done()


async def test_a_deadline_ends_the_wait():
    """At once where it has passed."""
    world = World(calls=1, waiting=5)
    await world.begin()
    world.now = LATER
    with pytest.raises(DeadlineExceeded):
        async with world.permits.until(LATER):
            pass
