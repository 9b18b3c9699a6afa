"""The contiguous watermark against the simplest model of it."""

import pytest
from headrace_messaging.consuming.watermark import OffsetGap, Watermark
from hypothesis import given
from hypothesis import strategies as st


@st.composite
def histories(draw):
    """Make sparse increasing offsets and an order in which some of them complete."""
    start = draw(st.integers(0, 50))
    steps = draw(st.lists(st.integers(0, 5), max_size=40))
    offsets = [start + sum(steps[: index + 1]) + index for index in range(len(steps))]
    finished = draw(st.permutations(offsets))
    return start, offsets, finished[: draw(st.integers(0, len(offsets)))]


@given(histories())
def test_everything_before_the_watermark_is_done_and_no_more_is_held_back(history):
    """At every step the position is that of the first delivered offset that is not done, or past the last."""
    start, offsets, finished = history
    watermark, done = Watermark(start), set()
    for offset in offsets:
        assert watermark.deliver(offset)
    for offset in finished:
        watermark.complete(offset)
        done.add(offset)
        open_offsets = [each for each in offsets if each not in done]
        reached = max((each for each in offsets if not open_offsets or each < open_offsets[0]), default=None)
        assert watermark.position == (start if reached is None else reached + 1)
        assert watermark.pending == len([each for each in offsets if each >= watermark.position])


@given(st.integers(0, 1000), st.integers(1, 100))
def test_it_starts_at_the_committed_position(start, skipped):
    """A first record beyond the position moves nothing until it is done; what lies between does not exist."""
    watermark = Watermark(start)
    watermark.deliver(start + skipped)
    assert watermark.position == start
    watermark.complete(start + skipped)
    assert watermark.position == start + skipped + 1


def test_a_record_delivered_again_is_recognised():
    """After a seek back, what is under way or done is not taken a second time."""
    watermark = Watermark(5)
    assert watermark.deliver(5)
    assert not watermark.deliver(5)
    assert not watermark.deliver(4)


@pytest.mark.parametrize("first", [6, 100])
def test_a_gap_on_a_dense_log_is_a_loss(first):
    """On the embedded bus every offset exists, so a jump means that records were dropped."""
    watermark = Watermark(5, dense=True)
    with pytest.raises(OffsetGap, match="expected offset 5"):
        watermark.deliver(first)


@given(st.integers(0, 5), st.integers(0, 5))
def test_marks_behind_the_last_record_are_passed_once_everything_is_done(marks, done):
    """A mark is no record: it neither holds the watermark back nor lets it pass what is under way."""
    watermark = Watermark(0)
    for offset in range(5):
        watermark.deliver(offset)
    for offset in range(done):
        watermark.complete(offset)
    watermark.skip_to(5 + marks)
    assert watermark.position == (5 + marks if done == 5 else done)
    for offset in range(done, 5):
        watermark.complete(offset)
    assert watermark.position == 5 + marks


def test_a_dense_log_has_no_marks():
    """What would be skipped there is a loss, and shows at the next delivery."""
    watermark = Watermark(5, dense=True)
    watermark.skip_to(8)
    with pytest.raises(OffsetGap):
        watermark.deliver(8)
