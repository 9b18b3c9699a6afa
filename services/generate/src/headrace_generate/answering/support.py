"""Check what a model wrote against the quotes it was given, sentence by sentence.

A sentence is supported by one sentence of one quote. Every word of it that carries a claim (numbers, names and content
words alike) must stand there, in the same order: a bag of words would let a model swap two numbers. What it leaves out
between two words that it kept may not be a number, a name or the turn to another clause, and no negation or condition
of the source may be lost or added. The check is deliberately one-sided: it turns true paraphrases away, and the quote
then stands in their place.

It does not judge whether a supported sentence answers the question (`composing` does).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from headrace_generate.answering.sentences import split_units
from headrace_generate.answering.terms import FUNCTION_WORDS, Term, terms

GAP_WORDS_MAX: Final = 8
"""More words left out between two kept ones than this make another sentence of it."""

QUALIFIERS: Final = frozenset(
    """no not never none nor neither nobody nothing nowhere cannot t without hardly barely rarely seldom scarcely except
    unless if whether although though despite may might could would should must can allegedly reportedly supposedly
    claimed claims claim false wrong denied denies refused failed fails only almost nearly about approximately around
    least most less more fewer over under before after until some all every few many""".split()
)
"""Words that turn or bound a claim: a written sentence has exactly those of the stretch that it takes, and all that
stand before it in its source."""

_REVERSING: Final = frozenset(
    """no not never none nor neither nobody nothing nowhere cannot t without hardly barely rarely seldom scarcely unless if
    whether allegedly reportedly supposedly claimed claims claim false wrong denied denies refused failed fails""".split()
)
_CLAUSE_WORDS: Final = frozenset("and but or who whom whose which that while whereas when where because".split())


@dataclass(frozen=True, slots=True)
class Support:
    """Where a written sentence stands: the number of its quote, from 0."""

    quote: int


def find_support(sentence: str, quotes: Sequence[str]) -> Support | None:
    """Return the first quote that supports `sentence`, or None. A sentence without a claim is not supported."""
    claim = [term for term in terms(sentence) if _carries_claim(term)]
    if not claim:
        return None
    for number, quote in enumerate(quotes):
        for unit in split_units(quote):
            if _supports(unit.text, sentence, claim):
                return Support(number)
    return None


def _carries_claim(term: Term) -> bool:
    return term.folded in QUALIFIERS or term.folded not in FUNCTION_WORDS


def _supports(source: str, sentence: str, claim: Sequence[Term]) -> bool:
    words = terms(source)
    aligned = _align(claim, words)
    if aligned is None:
        return False
    reversing = [word.folded for word in words if word.folded in _REVERSING]
    if sorted(reversing) != sorted(term.folded for term in claim if term.folded in _REVERSING):
        return False
    return all(_may_be_left_out(source, words[a + 1 : b]) for a, b in zip(aligned, aligned[1:], strict=False))


def _align(claim: Sequence[Term], words: Sequence[Term]) -> list[int] | None:
    """Match `claim` to `words` in order, ending as early and starting as late as possible; None where a word is missing."""
    position, aligned = -1, []
    for term in claim:
        position = next((i for i in range(position + 1, len(words)) if _same(term, words[i])), -1)
        if position < 0:
            return None
        aligned.append(position)
    for k in range(len(aligned) - 2, -1, -1):
        aligned[k] = next(i for i in range(aligned[k + 1] - 1, -1, -1) if _same(claim[k], words[i]))
    return aligned


def _same(a: Term, b: Term) -> bool:
    return a.folded == b.folded if a.is_number or b.is_number else a.stem == b.stem


def _may_be_left_out(source: str, gap: Sequence[Term]) -> bool:
    if sum(_carries_claim(word) for word in gap) > GAP_WORDS_MAX:
        return False
    return not any(
        word.is_number or word.folded in QUALIFIERS or word.folded in _CLAUSE_WORDS or source[word.start].isupper()
        for word in gap
    )
