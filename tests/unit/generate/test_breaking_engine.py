"""A hosted model that fails again and again is left alone: attempts fail at once, unbilled, until it answers again."""

from typing import Any

import pytest
from headrace_errors import DeadlineExceeded
from headrace_generate.adapters.breaking_engine import BreakingEngine, verdict_of
from headrace_generate.domain import AttemptFailed, TokenUse, Written
from headrace_runtime import BreakerPolicy, CircuitBreaker

ANSWER = Written("yes", "stop", TokenUse(3, 1))


class Provider:
    """Does what `mood` says, and counts its calls."""

    def __init__(self) -> None:
        self.mood: Exception | None = AttemptFailed("provider_503")
        self.calls = 0

    def count_tokens(self, _messages: Any) -> int:
        return 7

    async def generate(self, _call: Any, _progress: Any) -> Written:
        self.calls += 1
        if self.mood:
            raise self.mood
        return ANSWER


class World:
    def __init__(self) -> None:
        self.now, self.provider = 0.0, Provider()
        breaker = CircuitBreaker("m", BreakerPolicy(3, 5.0, 15.0), judge=verdict_of, clock=lambda: self.now)
        self.engine = BreakingEngine(self.provider, breaker)

    async def ask(self) -> str:
        try:
            return (await self.engine.generate(None, None)).text
        except (AttemptFailed, DeadlineExceeded) as failure:
            return failure.reason


@pytest.fixture
def world() -> World:
    return World()


async def test_after_failures_in_a_row_no_call_is_made_until_one_finds_out(world):
    """What fails at once costs nothing, and says after what time to ask again."""
    assert [await world.ask() for _ in range(5)] == ["provider_503"] * 3 + ["provider_circuit_open"] * 2
    assert world.provider.calls == 3
    world.now = 2.0
    with pytest.raises(AttemptFailed) as failed:
        await world.engine.generate(None, None)
    assert (failed.value.retry, failed.value.retry_after_s, failed.value.used) == (True, 3.0, TokenUse())
    world.now, world.provider.mood = 5.0, None
    assert [await world.ask(), await world.ask()] == ["yes", "yes"]


async def test_a_refused_request_says_nothing_bad_of_the_provider(world):
    """A wrong key or a bad request is ours: it never opens the circuit."""
    world.provider.mood = AttemptFailed("provider_401", retry=False)
    assert {await world.ask() for _ in range(10)} == {"provider_401"}


@pytest.mark.parametrize(
    "mood", [AttemptFailed("constraint_not_offered", retry=False), DeadlineExceeded("no time was left")]
)
async def test_what_never_reached_the_provider_does_not_close_the_circuit(world, mood):
    """The next call finds out instead."""
    for _ in range(3):
        await world.ask()
    world.now, world.provider.mood = 5.0, mood
    assert await world.ask() == mood.reason
    world.provider.mood = AttemptFailed("provider_503")
    assert [await world.ask(), await world.ask()] == ["provider_503", "provider_circuit_open"]
