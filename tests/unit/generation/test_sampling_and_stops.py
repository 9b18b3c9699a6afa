"""Choosing tokens and cutting text."""

import numpy as np
import pytest
from headrace_inference.sampling import Sampling, TokenPicker
from headrace_inference.stop_text import StopText
from hypothesis import given
from hypothesis import strategies as st


def test_temperature_zero_takes_the_likeliest_and_the_first_of_equals() -> None:
    """Greedy needs no seed."""
    assert TokenPicker(Sampling()).pick(np.array([0, 3, 3, 1], np.float32)) == 1


def test_top_p_keeps_to_the_smallest_sufficient_set() -> None:
    """With probabilities .6, .3, .1 and top_p .7 the third is never chosen, the first two both are."""
    logits = np.log(np.array([0.1, 0.6, 0.3])).astype(np.float32)
    picker = TokenPicker(Sampling(temperature=1.0, top_p=0.7, seed=3))
    assert {picker.pick(logits) for _ in range(200)} == {1, 2}


def test_sampling_follows_the_probabilities() -> None:
    """A thousand draws stand near .8 and .2."""
    logits = np.log(np.array([0.8, 0.2])).astype(np.float32)
    picker = TokenPicker(Sampling(temperature=1.0, seed=5))
    assert 0.75 < np.mean([picker.pick(logits) == 0 for _ in range(1000)]) < 0.85


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1.0}, {"temperature": float("nan")}, {"top_p": 0.0}, {"top_p": 1.5}]
)
def test_sampling_out_of_bounds_is_an_error(wrong: dict[str, float]) -> None:
    """Also what is not a number."""
    with pytest.raises(ValueError, match="temperature"):
        Sampling(**wrong)


@given(st.lists(st.text("abc", max_size=4), max_size=12), st.lists(st.text("abc", min_size=1, max_size=3), max_size=2))
def test_text_shown_is_what_stands_before_the_first_stop(pieces: list[str], stops: list[str]) -> None:
    """However the text is cut into pieces."""
    stop_text, shown = StopText(stops), ""
    for piece in pieces:
        shown += stop_text.feed(piece)
    shown += stop_text.rest()
    whole = "".join(pieces)
    positions = [whole.find(stop) for stop in stops if stop in whole]
    # A stop is acted on as soon as it is complete, so what began earlier but ends later may lose.
    assert stop_text.stopped == bool(positions)
    assert whole.startswith(shown)
    assert not any(stop in shown for stop in stops)
    if not positions:
        assert shown == whole
