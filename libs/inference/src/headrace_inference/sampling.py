"""Choosing the next token from one row of logits.

In the order of transformers' processors: repetition penalty, what a constraint allows, temperature, top-k, top-p.
Arg-max and draw stay outside the graph: arg-max over 16 rows of 49,152 logits takes 0.1% of a step, and penalties and
constraints are a request's own.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]
Allowed = npt.NDArray[np.bool_]
CANDIDATES = (
    1024  # sorted first: they nearly always hold the nucleus, and sorting a whole vocabulary takes 20 times more
)
TEMPERATURE_MAX, PENALTY_MAX = 2.0, 10.0


@dataclass(frozen=True)
class Sampling:
    """How to choose: greedy at temperature 0, else from the `top_k` likeliest whose probabilities reach `top_p`.

    `top_k` 0 means all. `repetition_penalty` divides positive logits of tokens that prompt or output hold, and
    multiplies negative ones (CTRL, https://arxiv.org/abs/1909.05858); 1 leaves them.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    top_k: int = 0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature <= TEMPERATURE_MAX or not 0.0 < self.top_p <= 1.0:
            raise ValueError("temperature must be in 0..2 and top_p in (0, 1]")
        if self.top_k < 0 or not 0.0 < self.repetition_penalty <= PENALTY_MAX or self.seed < 0:
            raise ValueError("top_k and seed must not be negative, repetition_penalty in (0, 10]")


GREEDY = Sampling()


class TokenPicker:
    """Chooses for one sequence; the same seed, prompt and logits give the same tokens."""

    def __init__(self, sampling: Sampling, prompt: Iterable[int] = ()) -> None:
        self._sampling = sampling
        self._random = np.random.Generator(np.random.PCG64(sampling.seed))
        self._seen = set(prompt) if sampling.repetition_penalty != 1.0 else None

    def pick(self, logits: Logits, allowed: Allowed | None = None) -> int:
        """Return a token id, one of those `allowed` (of which there is one at least); ties go to the lowest."""
        if self._seen:
            logits = penalised(logits, sorted(self._seen), self._sampling.repetition_penalty)
        if allowed is not None:
            logits = barred(logits, allowed)
        token = int(logits.argmax()) if self._sampling.temperature == 0.0 else self._draw(logits)
        if self._seen is not None:
            self._seen.add(token)
        return token

    def _draw(self, logits: Logits) -> int:
        """Draw from the nucleus: sort the likeliest, and the whole row only where they do not reach it."""
        sampling = self._sampling
        with np.errstate(over="ignore"):  # at hardly any temperature all but the likeliest are infinitely far from it
            scaled = (logits.astype(np.float64) - logits.max()) / sampling.temperature
        order = likeliest(scaled, sampling.top_k or CANDIDATES)
        shares = np.cumsum(np.exp(scaled[order] - scaled[order[0]]))
        shares /= shares[-1] if sampling.top_k else np.exp(scaled - scaled[order[0]]).sum()
        if shares[-1] < sampling.top_p and len(order) < len(scaled) and not sampling.top_k:
            order = likeliest(scaled, len(scaled))
            shares = np.cumsum(np.exp(scaled[order] - scaled[order[0]]))
            shares /= shares[-1]
        kept = shares[: int(np.searchsorted(shares, sampling.top_p)) + 1]
        return int(order[np.searchsorted(kept, self._random.random() * kept[-1])])


def barred(logits: Logits, allowed: Allowed) -> Logits:
    """Return logits in which only allowed tokens have a chance. Rows that models pad their heads with are no tokens."""
    changed = np.full_like(logits, -np.inf)
    known = logits[: len(allowed)]
    changed[: len(allowed)] = np.where(allowed, known, np.float32(-np.inf))
    return changed


def penalised(logits: Logits, seen: list[int], penalty: float) -> Logits:
    """Return logits in which tokens that were seen are less likely."""
    changed = logits.copy()
    values = changed[seen]
    changed[seen] = np.where(values > 0, values / np.float32(penalty), values * np.float32(penalty))
    return changed


def likeliest(scores: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.intp]:
    """Return the indices of the `count` highest scores, best first, ties by index."""
    if count >= len(scores):
        return np.argsort(-scores, kind="stable")
    found = np.sort(np.argpartition(scores, len(scores) - count)[len(scores) - count :])
    return found[np.argsort(-scores[found], kind="stable")]
