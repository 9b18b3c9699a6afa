"""What an acknowledgement proves of this process's clock: never more than it must."""

from headrace_messaging.clock import MEMORY_S, BrokerClock, ahead_s
from hypothesis import given
from hypothesis import strategies as st

SECONDS = st.floats(0, 1e6)


@given(sent=SECONDS, took=st.floats(0, 60), appended_after=st.floats(0, 1), wrong_by=st.floats(-1e4, 1e4))
def test_it_is_never_more_than_the_truth(sent, took, appended_after, wrong_by):
    """However slow the acknowledgement, a clock is said to be off by at most what it is off, and to the right side."""
    appended = sent + took * appended_after
    told = ahead_s(sent + wrong_by, appended, sent + took + wrong_by)
    assert abs(told) <= abs(wrong_by) + 1e-6
    assert told * wrong_by >= -1e-6


def test_a_slow_acknowledgement_is_no_wrong_clock():
    """Ten seconds of waiting say nothing."""
    assert ahead_s(100.0, 109.9, 110.0) == 0


def test_a_wrong_clock_is_told_in_its_direction():
    """Ahead is positive, behind negative."""
    assert ahead_s(400.0, 100.0, 400.1) == 300.0
    assert round(ahead_s(99.9, 400.0, 100.0), 3) == -300.0


class Clocks:
    """A process's clocks, one of them five minutes ahead of the brokers'."""

    def __init__(self):
        self.monotonic_s = 50.0
        self.brokers = BrokerClock(monotonic=lambda: self.monotonic_s, ours=lambda: self.monotonic_s + 1_300)

    @property
    def truth_ms(self):
        return (self.monotonic_s + 1_000) * 1_000


@given(st.lists(st.tuples(st.floats(0, 200), st.floats(0, 700)), min_size=1))
def test_the_brokers_time_is_never_thought_later_than_it_is(seen):
    """Whatever the age of what is seen, and whenever: and by no more than the age of the newest is it too early."""
    clocks, ages = Clocks(), []
    for passed_s, age_s in seen:
        clocks.monotonic_s += passed_s
        clocks.brokers.witness(clocks.truth_ms - age_s * 1_000)
        ages.append(age_s)
        behind_ms = clocks.truth_ms - clocks.brokers.now_ms()
        assert -1e-3 <= behind_ms <= max(ages) * 1_000 + 1e-3
    clocks.brokers.witness(clocks.truth_ms)
    assert abs(clocks.truth_ms - clocks.brokers.now_ms()) < 1e-3


def test_a_brokers_clock_that_is_put_back_is_followed():
    """What it said before is forgotten."""
    clocks = Clocks()
    clocks.brokers.witness(clocks.truth_ms + 600_000)
    for _ in range(2):
        clocks.monotonic_s += MEMORY_S
        clocks.brokers.witness(clocks.truth_ms)
    assert clocks.brokers.now_ms() == clocks.truth_ms


def test_our_clock_counts_while_nothing_was_seen():
    """There is no other."""
    clocks = Clocks()
    assert clocks.brokers.now_ms() == clocks.truth_ms + 300_000
