"""What is embedded: English prose of mixed lengths, and short queries. The same texts for everybody."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pydoc_data import topics

SEED = 5
_WORDS_PER_TOKEN = 0.68  # of this prose in a BERT vocabulary, about


@dataclass(frozen=True)
class Load:
    """Texts to embed, by name."""

    name: str
    texts: Sequence[str]


def loads(*, mixed: int, short: int) -> Sequence[Load]:
    """Return mixed lengths (mean about 75 tokens, at most 256) and queries of about a dozen tokens."""
    words = " ".join(text for _, text in sorted(topics.topics.items())).split()
    rng = random.Random(SEED)
    return [
        Load("mixed", [_cut(words, rng, mean=75, sigma=0.8, most=250) for _ in range(mixed)]),
        Load("queries", [_cut(words, rng, mean=12, sigma=0.4, most=30) for _ in range(short)]),
    ]


def _cut(words: Sequence[str], rng: random.Random, *, mean: float, sigma: float, most: int) -> str:
    tokens = min(max(rng.lognormvariate(math.log(mean) - sigma**2 / 2, sigma), 4), most)
    count = max(2, round(tokens * _WORDS_PER_TOKEN))
    first = rng.randrange(len(words) - count)
    return " ".join(words[first : first + count])
