"""What an acknowledgement proves of this process's clock: never more than it must."""

from headrace_messaging.clock import ahead_s
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
