"""The circuit breaker: quick to give up on who does not answer, one call to find out, and no grudge afterwards."""

import asyncio
from contextlib import suppress

import pytest
from headrace_errors import InvalidMessage, Unavailable
from headrace_inference.circuit_breaker import CircuitBreaker


class Clock:
    """Seconds that a test moves."""

    now_s = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    """Begin at 0."""
    return Clock()


@pytest.fixture
def breaker(clock) -> CircuitBreaker:
    """Give up after three failures: for 2 s, then 4, at most 5."""
    return CircuitBreaker("them", failures_max=3, open_s=2, open_s_max=5, clock=clock)


def fail(breaker: CircuitBreaker, error: BaseException | None = None) -> None:
    """Make a call that ends badly."""
    with suppress(type(error) if error else Unavailable), breaker.attempt():
        raise error or Unavailable("nobody there")


def refused(breaker: CircuitBreaker) -> bool:
    """Tell whether a call is refused without being made."""
    made = False
    with suppress(Unavailable), breaker.attempt():
        made = True
    return not made


def test_it_opens_after_failures_in_a_row(breaker):
    """Two are bad luck, the third opens it; a success between begins the count anew."""
    for _ in range(2):
        fail(breaker)
    with breaker.attempt():
        pass
    for _ in range(2):
        fail(breaker)
    assert breaker.state == "closed"
    fail(breaker)
    assert breaker.state == "open"
    assert refused(breaker)


def test_a_bad_answer_is_an_answer(breaker):
    """Who says that a request is invalid is there."""
    for _ in range(9):
        fail(breaker, InvalidMessage("too long"))
    assert breaker.state == "closed"


def test_one_call_finds_out_and_closes_it(breaker, clock):
    """When the time is up one call goes through, others wait for what it finds."""
    for _ in range(3):
        fail(breaker)
    clock.now_s = 2
    with breaker.attempt():
        assert breaker.state == "trying"
        assert refused(breaker)
    assert breaker.state == "closed"
    assert not refused(breaker)


def test_each_vain_try_doubles_the_wait_up_to_its_bound(breaker, clock):
    """2 s, 4 s, 5 s, 5 s."""
    for _ in range(3):
        fail(breaker)
    for wait_s in (2, 4, 5, 5):
        clock.now_s += wait_s - 0.5
        assert refused(breaker)
        clock.now_s += 0.5
        fail(breaker)
        assert breaker.state == "open"


def test_a_cancelled_try_lets_the_next_one_try(breaker, clock):
    """Its caller left; nothing was learnt."""
    for _ in range(3):
        fail(breaker)
    clock.now_s = 2
    fail(breaker, asyncio.CancelledError())
    assert not refused(breaker)


def test_stragglers_do_not_prolong_it(breaker, clock):
    """Calls that were under way when it opened fail too, and change nothing."""
    with suppress(Unavailable), breaker.attempt():
        for _ in range(3):
            fail(breaker)
        clock.now_s = 1
        raise Unavailable("late")
    clock.now_s = 2
    assert not refused(breaker)
