"""Choosing the next token from one row of logits."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sampling:
    """How to choose: greedy at temperature 0, else from the smallest set whose probabilities reach `top_p`."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature <= 2.0 or not 0.0 < self.top_p <= 1.0:  # noqa: PLR2004 - OpenAI's own bounds
            raise ValueError("temperature must be in 0..2 and top_p in (0, 1]")


GREEDY = Sampling()


class TokenPicker:
    """Chooses for one sequence; the same seed and logits give the same tokens."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._random = np.random.Generator(np.random.PCG64(sampling.seed))

    def pick(self, logits: Logits) -> int:
        """Return a token id; ties go to the lowest."""
        if self._sampling.temperature == 0.0:
            return int(logits.argmax())
        scaled = logits.astype(np.float64) / self._sampling.temperature
        order = np.argsort(-scaled, kind="stable")
        weights = np.exp(scaled[order] - scaled[order[0]])
        shares = np.cumsum(weights) / weights.sum()
        kept = shares[: int(np.searchsorted(shares, self._sampling.top_p)) + 1]
        return int(order[np.searchsorted(kept, self._random.random() * kept[-1])])
