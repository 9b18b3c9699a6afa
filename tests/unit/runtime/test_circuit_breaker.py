"""The circuit breaker: quick to give up on who does not answer, one call to find out, and no grudge afterwards."""

import asyncio
from contextlib import suppress

import pytest
from headrace_errors import InvalidMessage, Unavailable, reaction_of
from headrace_runtime import BreakerPolicy, CircuitBreaker, CircuitOpen


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
    return CircuitBreaker("them", BreakerPolicy(failures_max=3, open_min_s=2, open_max_s=5), clock=clock)


@pytest.fixture
def opened(breaker) -> CircuitBreaker:
    """Let three calls fail at second 0."""
    for _ in range(3):
        call(breaker, Unavailable("nobody there"))
    return breaker


def call(breaker: CircuitBreaker, error: BaseException | None = None) -> bool:
    """Make a call that ends so; tell whether it was let through."""
    made = False
    with suppress(CircuitOpen, type(error) if error else CircuitOpen), breaker.attempt():
        made = True
        if error:
            raise error
    return made


def test_it_opens_after_failures_in_a_row(breaker):
    """Two are bad luck, the third opens it; an answer between begins the count anew."""
    for error in [Unavailable("no"), Unavailable("no"), None, Unavailable("no"), Unavailable("no")]:
        call(breaker, error)
    assert breaker.state == "closed"
    call(breaker, Unavailable("no"))
    assert breaker.state == "open"
    assert not call(breaker)


def test_who_is_refused_hears_when_to_come_back(opened, clock):
    """It is Unavailable to all who do not look closer, so that they wait and try again."""
    clock.now_s = 0.5
    with pytest.raises(CircuitOpen) as refused, opened.attempt():
        pytest.fail("an open breaker asks nobody")
    assert (refused.value.retry_after_s, refused.value.reason) == (1.5, "provider_circuit_open")
    assert reaction_of(refused.value) == reaction_of(Unavailable("it"))


def test_a_bad_answer_is_an_answer(breaker):
    """Who says that a request is invalid is there."""
    for error in [Unavailable("no"), Unavailable("no"), InvalidMessage("too long")] * 3:
        call(breaker, error)
    assert breaker.state == "closed"


@pytest.mark.parametrize("error", [asyncio.CancelledError(), ZeroDivisionError()])
def test_a_caller_that_left_and_a_bug_say_nothing(breaker, opened, clock, error):
    """Neither closes it, nor keeps the next call from finding out."""
    clock.now_s = 2
    assert call(opened, error)
    assert opened.state == "open"
    assert call(opened)
    assert opened.state == "closed"


def test_one_call_finds_out_and_closes_it(opened, clock):
    """When the time is up one call goes through, others wait for what it finds."""
    clock.now_s = 2
    with opened.attempt():
        assert opened.state == "trying"
        assert not call(opened)
    assert opened.state == "closed"
    assert call(opened)


def test_each_vain_try_doubles_the_wait_up_to_its_bound(opened, clock):
    """2 s, 4 s, 5 s, 5 s; after an answer it begins at 2 again."""
    for wait_s in (2, 4, 5, 5):
        clock.now_s += wait_s - 0.5
        assert not call(opened)
        clock.now_s += 0.5
        assert call(opened, Unavailable("still not"))
        assert opened.state == "open"
    clock.now_s += 5
    assert call(opened)
    for _ in range(3):
        call(opened, Unavailable("again"))
    clock.now_s += 2
    assert call(opened)


def test_stragglers_neither_prolong_it_nor_end_the_try(breaker, clock):
    """Calls that were under way when it opened fail too, and change nothing: the one that finds out is another."""
    late, later = breaker.attempt(), breaker.attempt()
    late.__enter__()
    later.__enter__()
    for _ in range(3):
        call(breaker, Unavailable("no"))
    clock.now_s = 1
    late.__exit__(Unavailable, Unavailable("late"), None)
    clock.now_s = 2
    with breaker.attempt():
        later.__exit__(Unavailable, Unavailable("later"), None)
        assert breaker.state == "trying"
    assert breaker.state == "closed"


def test_a_straggler_that_is_answered_closes_it(breaker, clock):
    """Somebody is there again; a try that fails afterwards is one failure, not a second opening."""
    straggler = breaker.attempt()
    straggler.__enter__()
    for _ in range(3):
        call(breaker, Unavailable("no"))
    clock.now_s = 2
    with suppress(Unavailable), breaker.attempt():
        straggler.__exit__(None, None, None)
        raise Unavailable("not for this one")
    assert breaker.state == "closed"


def test_a_judge_of_its_own_decides_what_failed(clock):
    """For providers whose errors are of another taxonomy."""
    judge = {ValueError: "failed", KeyError: "answered"}
    breaker = CircuitBreaker("them", BreakerPolicy(2), judge=lambda error: judge[type(error)], clock=clock)
    for error in [ValueError(), KeyError(), ValueError()]:
        call(breaker, error)
    assert breaker.state == "closed"
    call(breaker, ValueError())
    assert breaker.state == "open"
