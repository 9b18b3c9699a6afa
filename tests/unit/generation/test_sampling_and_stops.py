"""Choosing tokens and cutting text."""

import numpy as np
import pytest
from headrace_inference.sampling import CANDIDATES, Sampling, TokenPicker
from headrace_inference.stop_text import StopText
from hypothesis import given
from hypothesis import strategies as st


def by_the_book(logits: np.ndarray, sampling: Sampling, draws: int, prompt: tuple[int, ...] = ()) -> list[int]:
    """Choose as the definitions say, over the whole row, in float64."""
    random, seen, made = np.random.Generator(np.random.PCG64(sampling.seed)), set(prompt), []
    for _ in range(draws):
        row = logits.astype(np.float64)
        if sampling.repetition_penalty != 1.0:
            for token in seen:
                row[token] = (np.divide if row[token] > 0 else np.multiply)(row[token], sampling.repetition_penalty)
        if sampling.temperature == 0:
            token = int(np.argmax(row))
        else:
            row = row / sampling.temperature
            order = np.argsort(-row, kind="stable")[: sampling.top_k or None]
            shares = np.exp(row[order] - row[order[0]])
            shares /= shares.sum()
            kept = order[np.cumsum(shares) - shares < sampling.top_p]
            shares = shares[: len(kept)]
            token = int(kept[np.searchsorted(np.cumsum(shares), random.random() * shares.sum())])
        seen.add(token)
        made.append(token)
    return made


SAMPLINGS = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.3, 1.0, 2.0]),
    top_p=st.sampled_from([0.1, 0.5, 0.9, 0.99, 1.0]),
    seed=st.integers(0, 2**32),
    top_k=st.sampled_from([0, 1, 5, 50, 2000]),
    repetition_penalty=st.sampled_from([1.0, 1.1, 2.0]),
)


@given(SAMPLINGS, st.integers(0, 1000), st.sampled_from([3, 100, 3 * CANDIDATES]), st.sampled_from([0.1, 1.0, 8.0]))
def test_every_way_of_choosing_equals_its_definition(sampling: Sampling, seed: int, size: int, spread: float) -> None:
    """Greedy, temperature, top-p, top-k, penalty and seed, token for token; also where the nucleus is very large."""
    logits = (np.random.default_rng(seed).standard_normal(size) * spread).astype(np.float32)
    picker = TokenPicker(sampling, prompt=(0, 1))
    assert [picker.pick(logits) for _ in range(8)] == by_the_book(logits, sampling, 8, (0, 1))


def test_temperature_zero_takes_the_likeliest_and_the_first_of_equals() -> None:
    """Greedy needs no seed."""
    assert TokenPicker(Sampling()).pick(np.array([0, 3, 3, 1], np.float32)) == 1


def test_sampling_follows_the_probabilities() -> None:
    """A thousand draws stand near .8 and .2."""
    logits = np.log(np.array([0.8, 0.2])).astype(np.float32)
    picker = TokenPicker(Sampling(temperature=1.0, seed=5))
    assert 0.75 < np.mean([picker.pick(logits) == 0 for _ in range(1000)]) < 0.85


@pytest.mark.parametrize("sampling", [Sampling(5e-324), Sampling(1e-310, top_k=2), Sampling(1e-310, top_p=0.5)])
def test_hardly_any_temperature_takes_the_likeliest(sampling: Sampling) -> None:
    """Though logits divided by it are more than a float can hold."""
    assert TokenPicker(sampling).pick(np.array([-1, 3, 20, 1], np.float32)) == 2


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("padding", [0, 3])
def test_only_what_is_allowed_is_chosen(temperature: float, padding: int) -> None:
    """Even where everything else is far likelier, such as rows beyond the vocabulary, with which models pad."""
    logits = np.array([9, 9, -9, -8, *[12] * padding], np.float32)
    allowed = np.array([False, False, True, True])
    picker = TokenPicker(Sampling(temperature, seed=3))
    assert {picker.pick(logits, allowed) for _ in range(50)} <= {2, 3}


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1.0}, {"temperature": float("nan")}, {"top_p": 0.0}, {"top_p": 1.5}, {"top_k": -1},
        {"repetition_penalty": 0.0}, {"repetition_penalty": float("inf")}, {"seed": -1},
    ],
)  # fmt: skip
def test_sampling_out_of_bounds_is_an_error(wrong: dict[str, float]) -> None:
    """Also what is not a number."""
    with pytest.raises(ValueError, match="must"):
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
