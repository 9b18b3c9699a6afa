"""Measuring a model: what did not come to its end has no speed, and the one who measures is told so."""

from collections.abc import Callable
from pathlib import Path

import pytest
from headrace_inference import generation_bench
from headrace_inference.engines import Opened
from headrace_inference.genai_engine import EngineFailed, GenaiEngine, TurnEvent, TurnRefused
from headrace_inference.generation_bench import measure_generation
from headrace_inference.model_errors import ModelStoreError


class Turns:
    """The package's turns, of which each is refused, ends as told, or brings the engine down."""

    turns_max = 16

    def __init__(self, end: str) -> None:
        self._end, self._turns = end, []

    def check(self, _job) -> None:
        """Any job will do."""

    def begin(self, _job) -> int:
        if self._end == "refused":
            raise TurnRefused("no")
        self._turns.append(len(self._turns))
        return self._turns[-1]

    def close(self, _turn) -> None:
        """Nothing is held."""

    def run(self) -> list[TurnEvent]:
        if self._end == "down":
            raise EngineFailed("gone")
        ended, self._turns = self._turns, []
        return [TurnEvent(turn, 5, self._end) for turn in ended]


@pytest.fixture
def measured(monkeypatch) -> Callable[[str], object]:
    """Measure an engine whose turns all end in this way."""

    def measure(end: str) -> object:
        engine = GenaiEngine(Turns(end), lambda: lambda _token: "x", tokens_max=4096, clock=lambda: 0.0, waiting_max=16)
        monkeypatch.setattr(generation_bench, "open_engine", lambda *_: Opened(engine, "genai"))
        return measure_generation(Path("x"), threads=1)

    return measure


@pytest.mark.parametrize("end", ["failed", "capacity", "refused", "down"])
def test_a_text_that_does_not_come_to_its_end_is_not_measured(measured, end):
    """Failing is fast; it is an error that the command shows, not a row."""
    with pytest.raises(ModelStoreError, match="measured"):
        measured(end)


@pytest.mark.parametrize("end", ["stop", "length"])
def test_texts_that_end_are_measured(measured, end):
    """By themselves or at the limit."""
    assert len(measured(end)) == 6
