"""What a question asks about (weighted terms) and what kind of thing would answer it.

The weights are inverse document frequencies of the asker's own corpus where retrieval reports them; without them every
term weighs the same. The kinds are cues from the question's words, not a parse.
"""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import takewhile
from typing import Final

from headrace_generate.answering.passages import TermStatistics
from headrace_generate.answering.terms import Term, terms

VARIANT_WEIGHT: Final = 0.8
"""What a word counts that only shares most of its letters (`naturalised`, `naturalized`), against the same word's 1."""

_VARIANT_CHARS_MIN: Final = 5
_VARIANT_SHARE_MIN: Final = 0.65


class Wanted(Enum):
    """The kind of thing that would answer a question."""

    AMOUNT = "amount"
    TIME = "time"
    NAME = "name"
    ANYTHING = "anything"


@dataclass(frozen=True, slots=True)
class Question:
    """A question's weighted stems (weights sum to 1, or there are none) and what would answer it."""

    text: str
    weights: Mapping[str, float]
    wanted: Wanted

    def overlap(self, stems: Collection[str]) -> float:
        """Return the weighted share of the question's terms that `stems` hold, 0 to 1."""
        return sum(weight * _match(term, stems) for term, weight in self.weights.items())

    def answered_by(self, text: str) -> bool:
        """Tell whether `text` holds something of the wanted kind that the question did not say itself."""
        words = terms(text)
        news = [(i, word) for i, word in enumerate(words) if word.is_content and word.stem not in self.weights]
        if self.wanted is Wanted.AMOUNT:
            return any(word.is_number for _, word in news)
        if self.wanted is Wanted.TIME:
            return any(word.is_number or word.folded in _MONTHS for _, word in news)
        if self.wanted is Wanted.NAME:
            return any(word.capital and (i > 0 or _starts_name(words)) for i, word in news)
        return bool(news)


def read_question(text: str, statistics: TermStatistics) -> Question:
    """Weigh the terms of a question and tell what it wants."""
    content = {word.stem: word for word in terms(text) if word.is_content}
    raw = {key: _weight(word, statistics) for key, word in content.items()}
    total = sum(raw.values())
    weights = {key: weight / total for key, weight in raw.items()} if total else {}
    wanted = next((wanted for cue, wanted in _CUES if cue.search(text)), Wanted.ANYTHING)
    return Question(text, weights, wanted)


def _weight(word: Term, statistics: TermStatistics) -> float:
    """Weigh a term as BM25 does; see Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009."""
    if statistics.chunks_total <= 0:
        return 1.0
    frequency = min(_frequency(word, statistics.document_frequency), statistics.chunks_total)
    return math.log(1 + (statistics.chunks_total - frequency + 0.5) / (frequency + 0.5))


def _frequency(word: Term, frequencies: Mapping[str, int]) -> int:
    """Look a word up under another analysis's stem: the key that is the word but for its ending."""
    for key in (word.folded, word.stem):
        if key in frequencies:
            return frequencies[key]
    near = [(shared, key) for key in frequencies if (shared := _shared(key, word.folded)) >= max(3, len(key) - 1)]
    return frequencies[max(near)[1]] if near else 0


def _match(term: str, stems: Collection[str]) -> float:
    if term in stems:
        return 1.0
    return VARIANT_WEIGHT if any(_are_variants(term, other) for other in stems) else 0.0


def _are_variants(a: str, b: str) -> bool:
    return _shared(a, b) >= max(_VARIANT_CHARS_MIN, _VARIANT_SHARE_MIN * max(len(a), len(b)))


def _shared(a: str, b: str) -> int:
    """Count the letters that two words begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


def _starts_name(words: tuple[Term, ...]) -> bool:
    """Tell a name from the capital that opens every sentence: the next word has one too."""
    return len(words) > 1 and words[1].capital


_MONTHS: Final = frozenset(
    """
    january february march april may june july august september october november december
    """.split()  # noqa: SIM905 - reads as the list that it is
)
_CUES: Final = (
    (
        re.compile(
            r"\bhow (?:many|much|long|old|far|often|large|big|tall|high|deep|fast|wide|heavy)\b|\bpercent(?:age)?\b"
            r"|\b(?:what|which) (?:number|age|size|share)\b|\bpopulation\b",
            re.IGNORECASE,
        ),
        Wanted.AMOUNT,
    ),
    (
        re.compile(r"\bwhen\b|\b(?:what|which) (?:year|date|month|day|century|decade|time)\b", re.IGNORECASE),
        Wanted.TIME,
    ),
    (
        re.compile(
            r"\b(?:who|whom|whose|where)\b"
            r"|\b(?:what|which) (?:city|country|state|town|place|region|county|continent)\b",
            re.IGNORECASE,
        ),
        Wanted.NAME,
    ),
)
