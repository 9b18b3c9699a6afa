"""English prose that every Python brings along, to measure with: the paragraphs behind its own `help()`.

Speed and quality of a model depend on the texts; made-up words would measure neither. Nothing is shipped or fetched.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pydoc_data import topics

_CHARS_MIN, _CHARS_MAX = 120, 1200
_SENTENCE_END = re.compile(r"(?<=[.?!:])\s+(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Pair:
    """A paragraph in two: its first sentence asks for the rest of it."""

    query: str
    passage: str


def sample_pairs(count: int) -> Sequence[Pair]:
    """Return up to `count` pairs, all different, spread over the topics. The same on each call."""
    paragraphs = dict.fromkeys(
        " ".join(paragraph.split())
        for _, topic in sorted(topics.topics.items())
        for paragraph in re.split(r"\n\s*\n", topic)
    )
    halves = [
        _SENTENCE_END.split(paragraph, maxsplit=1)
        for paragraph in paragraphs
        if _CHARS_MIN <= len(paragraph) <= _CHARS_MAX and paragraph[0].isupper()
    ]
    pairs = [Pair(*half) for half in halves if len(half) > 1]
    stride = max(1, len(pairs) // count)
    return pairs[::stride][:count]
