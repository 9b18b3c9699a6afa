"""Check what a model wrote against the quotes that it was given, sentence by sentence.

Both rules ask that every number, name and content word of a sentence stand in the quotes that it cites, that no
negation or condition come or go, and that no link or sign come in that the quotes do not have.

- `EXCERPT`, for small models: beyond that, the sentence is an unbroken run of one source sentence's words. Only
  articles, auxiliaries and relative pronouns may differ, and a name or a hyphenated word is taken whole.
- `WORDS`, for models that write freely: words may move, but a number keeps the word that it counts, and names keep
  their order, for a bag of words would let two of either be swapped.

The checks are one-sided on purpose: they turn true paraphrases away, and the quote then stands in their place. Whether
a supported sentence answers the question is not judged here.
"""

import re
from collections.abc import Sequence
from enum import Enum
from itertools import pairwise
from typing import Final

from headrace_generate.answering.sentences import split_units
from headrace_generate.answering.terms import FUNCTION_WORDS, Term, terms


class SupportRule(Enum):
    """How closely a written sentence must follow its source; the model catalogue's style chooses."""

    EXCERPT = "excerpt"
    WORDS = "words"


def find_support(sentence: str, quotes: Sequence[str], rule: SupportRule) -> tuple[int, ...]:
    """Return the numbers (from 0) of the quotes that support `sentence`; none if unsupported or without a claim."""
    claim = tuple(term for term in terms(sentence) if _claims(term))
    if not claim or not _SENTENCE_END.search(sentence):
        return ()
    if rule is SupportRule.EXCERPT:
        found = (number for number, quote in enumerate(quotes) if _is_excerpt(sentence, claim, quote))
        return tuple(found)[:1]
    return _support_by_words(sentence, claim, quotes)


_SENTENCE_END: Final = re.compile(r"[.!?。！？][\"'”’»)\]]*\Z")  # noqa: RUF001 - full-width marks end sentences too
"""A sentence that stops without one was cut off by the token limit; what came next may have turned it."""

_FREE: Final = frozenset(
    "a an the this that these those which who whom is are was were be been being has have had do does did s".split()  # noqa: SIM905
)
_REVERSING: Final = frozenset(
    """
    no not never none nor neither nobody nothing nowhere cannot t without hardly barely rarely seldom scarcely
    unless if whether except allegedly reportedly supposedly purportedly claimed claims claim false falsely wrong
    wrongly myth perhaps possibly probably usually sometimes denied denies deny refused refuses failed fails
    may might could would should must
    """.split()  # noqa: SIM905 - reads as the list that it is
)
"""Words that turn, weaken or condition a claim. `t` is what a contracted "not" leaves."""


def _claims(term: Term) -> bool:
    return term.folded not in _FREE


def _reversing(words: Sequence[Term]) -> list[str]:
    return sorted(word.folded for word in words if word.folded in _REVERSING)


# --- EXCERPT ---------------------------------------------------------------------------------------------------------


def _is_excerpt(sentence: str, claim: Sequence[Term], quote: str) -> bool:
    if not _signs_stand_in(sentence, (quote,)):
        return False
    return any(_takes_a_run(claim, unit.text) for unit in split_units(quote) if unit.kind.quotable)


def _takes_a_run(claim: Sequence[Term], source: str) -> bool:
    words = tuple(term for term in terms(source) if _claims(term))
    if _reversing(words) != _reversing(claim):
        return False
    return any(
        all(_same(a, b) for a, b in zip(claim, words[i:], strict=False)) and _is_whole(source, words, i, i + len(claim))
        for i in range(len(words) - len(claim) + 1)
    )


def _same(a: Term, b: Term) -> bool:
    return a.folded == b.folded if a.is_number or b.is_number else a.stem == b.stem


def _is_whole(source: str, words: Sequence[Term], start: int, end: int) -> bool:
    """Tell whether the run `words[start:end]` breaks no name, hyphenated word or counted thing at its ends."""
    opens = start == 0 or not _belong_together(source, words[start - 1], words[start])
    closes = end == len(words) or not (
        _belong_together(source, words[end - 1], words[end]) or _counts(source, words[end - 1], words[end])
    )
    return opens and closes


def _belong_together(source: str, a: Term, b: Term) -> bool:
    between = source[a.end : b.start]
    hyphenated = between in {"-", "\N{EN DASH}", "\N{HYPHEN}", "\N{NON-BREAKING HYPHEN}", "/", "'", "’"}  # noqa: RUF001
    one_name = between == " " and a.capital and b.capital and a.folded not in FUNCTION_WORDS
    return hyphenated or one_name or (between.isspace() and a.is_number and b.is_number)


def _counts(source: str, number: Term, thing: Term) -> bool:
    return number.is_number and thing.is_content and source[number.end : thing.start].isspace()


# --- WORDS -----------------------------------------------------------------------------------------------------------


def _support_by_words(sentence: str, claim: Sequence[Term], quotes: Sequence[str]) -> tuple[int, ...]:
    content = [term for term in claim if term.is_content]
    read = [terms(quote) for quote in quotes]
    cited = [n for n, words in enumerate(read) if any(_same(a, b) for a in content for b in words if b.is_content)]
    words = [word for n in cited for word in read[n]]
    if not content or not all(any(_same(a, b) for b in words) for a in content):
        return ()
    sources = [unit.text for n in cited for unit in split_units(quotes[n]) if unit.kind.quotable]
    faithful = (
        any(_reversing(terms(source)) == _reversing(claim) and _shares_most(content, source) for source in sources)
        and all(_number_keeps_its_word(i, content, sources) for i, term in enumerate(content) if term.is_number)
        and _names_keep_their_order(content, sources)
        and _signs_stand_in(sentence, [quotes[n] for n in cited])
    )
    return tuple(cited) if faithful else ()


def _shares_most(content: Sequence[Term], source: str) -> bool:
    words = terms(source)
    return 2 * sum(any(_same(a, b) for b in words) for a in content) >= len(content)


def _number_keeps_its_word(position: int, content: Sequence[Term], sources: Sequence[str]) -> bool:
    """Tell whether a number goes with the word that it counts in some source or, counting none, with a near one."""
    number = content[position]
    around = [*content[max(0, position - _NEAR) : position], *content[position + 1 : position + 1 + _NEAR]]
    for source in sources:
        words = [word for word in terms(source) if word.is_content]
        for i, word in enumerate(words):
            if not _same(number, word):
                continue
            if i + 1 < len(words) and _counts(source, word, words[i + 1]):
                kept = position + 1 < len(content) and _same(content[position + 1], words[i + 1])
            else:
                beside = [*words[max(0, i - _NEAR) : i], *words[i + 1 : i + 1 + _NEAR]]
                kept = len(content) == 1 or any(_same(a, b) for a in around for b in beside)
            if kept:
                return True
    return False


_NEAR: Final = 2


def _names_keep_their_order(content: Sequence[Term], sources: Sequence[str]) -> bool:
    """Tell whether every two neighbouring names stand in this order in some source, if one has them both."""
    names = [term for term in content if term.capital]
    for a, b in pairwise(names):
        places = [[[w.start for w in terms(source) if _same(n, w)] for n in (a, b)] for source in sources]
        both = [(first, second) for first, second in places if first and second]
        if both and not any(min(first) <= max(second) for first, second in both):
            return False
    return True


# --- signs -----------------------------------------------------------------------------------------------------------

_LINK: Final = re.compile(r"//|www\.|\]\(|\w@\w|\w\.[^\W\d_]{2,}", re.IGNORECASE)
_PLAIN: Final = frozenset(" .,;:'\"!?()-\N{EN DASH}\N{EM DASH}‘’“”…")  # noqa: RUF001 - typographic on purpose


def _signs_stand_in(sentence: str, quotes: Sequence[str]) -> bool:
    """Tell whether every link and every sign but plain punctuation was in the quotes: no markup, nothing hidden."""
    signs = {c for c in sentence if not c.isalnum() and c not in _PLAIN}
    known = set().union(*quotes)
    links = (word.strip(".,;:!?()'\"") for word in sentence.split() if _LINK.search(word))
    return signs <= known and all(any(link in quote for quote in quotes) for link in links)
