"""A provider that fails again and again is left alone, asked again with one call, and taken back when it answers."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from headrace_generate.adapters.circuit_breaker import BreakerPolicy, BreakingEngine
from headrace_generate.domain import AttemptFailed, TokenUse, Written

ANSWER = Written("yes", "stop", TokenUse(3, 1))


class Provider:
    """Does what `mood` says, and counts its calls."""

    def __init__(self) -> None:
        self.mood: Any = AttemptFailed("provider_503")
        self.calls = 0

    def count_tokens(self, _messages: Sequence[Any]) -> int:
        return 7

    async def generate(self, _call: Any, _progress: Any) -> Written:
        self.calls += 1
        if isinstance(self.mood, asyncio.Event):
            await self.mood.wait()
        elif isinstance(self.mood, Exception):
            raise self.mood
        return ANSWER


class World:
    def __init__(self) -> None:
        self.now, self.provider = 0.0, Provider()
        self.engine = BreakingEngine(self.provider, "m", lambda: self.now, BreakerPolicy(3, 5.0, 15.0))

    async def ask(self) -> str:
        try:
            return (await self.engine.generate(None, None)).text
        except AttemptFailed as failure:
            return failure.reason


@pytest.fixture
def world() -> World:
    return World()


async def test_after_failures_in_a_row_no_call_is_made(world):
    """What fails at once costs nothing, and says after what time to ask again."""
    assert [await world.ask() for _ in range(5)] == ["provider_503"] * 3 + ["provider_circuit_open"] * 2
    assert world.provider.calls == 3
    world.now = 2.0
    with pytest.raises(AttemptFailed) as failed:
        await world.engine.generate(None, None)
    assert (failed.value.retry, failed.value.retry_after_s, failed.value.used) == (True, 3.0, TokenUse())


async def test_an_answer_in_between_starts_the_count_anew(world):
    """Only failures in a row count."""
    for _ in range(3):
        world.provider.mood = AttemptFailed("provider_503")
        assert [await world.ask(), await world.ask()] == ["provider_503"] * 2
        world.provider.mood = None
        assert await world.ask() == "yes"


async def test_a_refused_request_says_nothing_of_the_providers_health(world):
    """A wrong key or a bad request is ours: it never opens the circuit."""
    world.provider.mood = AttemptFailed("provider_401", retry=False)
    assert {await world.ask() for _ in range(10)} == {"provider_401"}


async def test_one_call_asks_again_and_an_answer_closes_the_circuit(world):
    """Others wait for what it finds."""
    for _ in range(3):
        await world.ask()
    world.now = 5.0
    world.provider.mood = asyncio.Event()
    probe = asyncio.create_task(world.ask())
    await asyncio.sleep(0)
    assert await world.ask() == "provider_circuit_open"
    world.provider.mood.set()
    assert await probe == "yes"
    assert await world.ask() == "yes"


async def test_a_probe_that_fails_doubles_the_wait_up_to_its_bound(world):
    """5, 10, 15, 15 seconds."""
    for _ in range(3):
        await world.ask()
    for wait_s in (5.0, 10.0, 15.0, 15.0):
        world.now += wait_s - 0.1
        assert await world.ask() == "provider_circuit_open"
        world.now += 0.1
        assert await world.ask() == "provider_503"


async def test_a_probe_that_is_cancelled_leaves_room_for_the_next(world):
    """A caller that leaves must not lock the provider out."""
    for _ in range(3):
        await world.ask()
    world.now = 5.0
    world.provider.mood = asyncio.Event()
    probe = asyncio.create_task(world.ask())
    await asyncio.sleep(0)
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    world.provider.mood = None
    assert await world.ask() == "yes"
