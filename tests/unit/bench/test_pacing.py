"""Requests are due at their moments whatever became of those before, and every moment is counted from there."""

import pytest
from bench.bus.pacing import Pace, Plan

BEGAN_S = 1000.0


class Chain:
    """Answers every request `takes_s` after it was sent, on a clock that goes only where it is told."""

    def __init__(self, plan: Plan, takes_s: float) -> None:
        self.pace = Pace(plan, BEGAN_S)
        self.takes_s = takes_s
        self.now_s = BEGAN_S
        self.sent: list[tuple[float, str]] = []
        self.due_s: list[float] = []

    def at(self, now_s: float) -> int:
        """Go to a moment: take what was answered by then, send what is due; return how many were sent."""
        for sent_s, name in [one for one in self.sent if one[0] + self.takes_s <= BEGAN_S + now_s + 1e-9]:
            self.pace.ended(name, sent_s + self.takes_s)
            self.sent.remove((sent_s, name))
        moments = self.pace.take(BEGAN_S + now_s)
        for due_s in moments:
            name = f"request-{len(self.due_s)}"
            self.due_s.append(due_s - BEGAN_S)
            self.pace.sent(name, due_s)
            self.sent.append((BEGAN_S + now_s, name))
        return len(moments)

    def run(self, tick_s: float) -> None:
        """Go through the whole plan in ticks, and on until every request sent is answered."""
        ticks = round(self.pace.plan.whole_s / tick_s)
        for number in range(ticks + 1):
            self.at(number * tick_s)
        self.at(ticks * tick_s + self.takes_s)


def test_a_rate_is_kept_however_seldom_one_looks():
    """What is due since the last look is sent now, each with the moment at which it was due."""
    chain = Chain(Plan(10, warm_up_s=0, seconds=2), takes_s=0.01)
    assert [chain.at(0.0), chain.at(0.05), chain.at(0.1), chain.at(0.45)] == [1, 0, 1, 3]
    assert chain.due_s == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_one_looks_again_when_the_next_request_is_due():
    """Neither earlier nor later; without a rate, or without room, an outcome is what to wait for."""
    chain = Chain(Plan(10, warm_up_s=0, seconds=2, in_flight_max=2), takes_s=9)
    chain.at(0.03)
    assert chain.pace.wait_s(BEGAN_S + 0.03) == pytest.approx(0.07)
    chain.at(0.13)
    assert chain.pace.wait_s(BEGAN_S + 0.13) is None
    assert Chain(Plan(None, warm_up_s=0, seconds=2), takes_s=9).pace.wait_s(BEGAN_S) is None


def test_a_chain_that_keeps_up_meets_the_rate():
    """Offered is achieved; the warm-up counts for nothing."""
    chain = Chain(Plan(100, warm_up_s=1, seconds=4), takes_s=0.02)
    chain.run(tick_s=0.01)
    seen = chain.pace.measured()
    assert (seen.offered, seen.achieved, seen.unsent, seen.lost, seen.missed) == (100, 100, 0, 0, False)
    assert len(chain.due_s) == 500
    assert seen.p50_ms == pytest.approx(20, abs=0.1)


def test_latency_counts_from_the_due_moment_not_from_the_send():
    """A generator that was held up for a second has requests that took a second longer."""
    chain = Chain(Plan(10, warm_up_s=0, seconds=2), takes_s=0.1)
    chain.at(1.0)
    chain.at(1.1)
    assert chain.pace.measured().p99_ms == pytest.approx(1100, rel=0.01)
    assert chain.pace.measured().p50_ms == pytest.approx(600, rel=0.01)


def test_a_chain_that_falls_behind_shows_it():
    """Room for few, and slow: latencies grow, what was never sent is told, the rate is missed."""
    chain = Chain(Plan(100, warm_up_s=0, seconds=2, in_flight_max=10), takes_s=0.5)
    chain.run(tick_s=0.01)
    seen = chain.pace.measured()
    assert seen.missed
    assert seen.achieved == pytest.approx(20, rel=0.3)
    assert seen.unsent == 200 - len(chain.due_s)
    assert seen.p99_ms > 1500  # sent late, answered half a second later


def test_never_more_under_way_than_allowed():
    """With a rate or without one."""
    for rate in (1000, None):
        chain = Chain(Plan(rate, warm_up_s=0, seconds=1, in_flight_max=7), takes_s=0.3)
        for number in range(100):
            chain.at(number / 100)
            assert chain.pace.under_way <= 7


def test_without_a_rate_the_room_is_always_taken():
    """Seven under way for 0.1 s each are 70 a second, counted from their sends, and no rate is missed."""
    chain = Chain(Plan(None, warm_up_s=1, seconds=2, in_flight_max=7), takes_s=0.1)
    chain.run(tick_s=0.1)
    seen = chain.pace.measured()
    assert seen.achieved == pytest.approx(70, rel=0.06)
    assert seen.p50_ms == pytest.approx(100, rel=0.01)
    assert (seen.unsent, seen.missed) == (0, False)


def test_what_ends_otherwise_or_never_is_told():
    """An outcome that is not the wanted one counts apart, none is lost; a stranger's or second one is nothing."""
    pace = Pace(Plan(None, warm_up_s=0, seconds=1), BEGAN_S)
    for name in ("answered", "refused", "lost"):
        pace.sent(name, BEGAN_S)
    pace.ended("answered", BEGAN_S + 0.1)
    pace.ended("answered", BEGAN_S + 0.2)
    pace.ended("stranger", BEGAN_S + 0.2)
    pace.ended("refused", BEGAN_S + 0.2, answered=False)
    seen = pace.measured()
    assert (seen.requests, seen.unanswered, seen.lost) == (2, 1, 1)


def test_nothing_is_sent_after_the_end():
    """And nothing seen is no latency, not one of zero."""
    pace = Pace(Plan(10, warm_up_s=1, seconds=1), BEGAN_S)
    assert pace.over(BEGAN_S + 2)
    assert pace.take(BEGAN_S + 2) == []
    assert (pace.measured().p50_ms, pace.measured().p99_ms, pace.measured().missed) == (None, None, True)
