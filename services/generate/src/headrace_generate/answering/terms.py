"""Read a text as words: the one analysis that scoring and the support check share.

A word is folded (case, diacritics, compatibility forms), a number keeps its separators' meaning, an inflected English
word has a conservative stem. What is left alone: synonyms, spelling, other languages' inflection (a word there is its own
stem), and meaning.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

NEGATIONS: Final = frozenset(
    "no not never none nor neither nobody nothing nowhere cannot without hardly barely rarely seldom except unless n't".split()
)

FUNCTION_WORDS: Final = frozenset(
    """a an the this that these those it its itself he him his himself she her hers herself they them their theirs
    themselves we us our ours i me my mine you your yours who whom whose which what where when why how
    am is are was were be been being have has had having do does did doing done
    of in on at by for from with to into onto upon about as and or but if then than so also too there here
    during through over under between among within while because since such both each per via
    s t ll re ve d m""".split()
)
"""Words that carry no claim of their own. Modals, quantifiers and words of order are left out on purpose: they do."""


@dataclass(frozen=True, slots=True)
class Term:
    """A word of a text: where it stands, how it reads folded, and its stem."""

    start: int
    end: int
    folded: str
    stem: str

    @property
    def is_number(self) -> bool:
        return any(c.isnumeric() for c in self.folded)

    @property
    def is_negation(self) -> bool:
        return self.folded in NEGATIONS

    @property
    def is_content(self) -> bool:
        return self.folded not in FUNCTION_WORDS


_WORD: Final = re.compile(r"\d+(?:[.,:/]\d+)*[^\W_]*|[^\W_]+")


def terms(text: str) -> tuple[Term, ...]:
    """Return the words of `text` in order."""
    return tuple(_terms(text))


def _terms(text: str) -> Iterator[Term]:
    for match in _WORD.finditer(text):
        folded = fold(match[0])
        yield Term(match.start(), match.end(), folded, stem(folded))


def fold(word: str) -> str:
    """Fold case, compatibility forms and Latin diacritics; fractions and superscripts stay the numbers that they are."""
    compatible = "".join(c if unicodedata.category(c) == "No" else unicodedata.normalize("NFKD", c) for c in word)
    return "".join(c for c in compatible if not "\u0300" <= c <= "\u036f").casefold()


def stem(word: str) -> str:
    """Take a regular English inflection off: plural, past, participle. Never a derivation, which may change the claim."""
    if len(word) < _STEM_CHARS_MIN or not (word.isascii() and word.isalpha()):
        return word
    for ending, instead in _ENDINGS:
        rest = word.removesuffix(ending)
        if rest != word and len(rest) + len(instead) >= 3 and _VOWEL.search(rest):
            word = rest + instead
            if ending in {"ing", "ed"} and _DOUBLED.search(word):
                word = word[:-1]
            break
    return word[:-1] if word.endswith("e") and len(word) > _STEM_CHARS_MIN else word


_STEM_CHARS_MIN: Final = 4
_ENDINGS: Final = (
    ("sses", "ss"), ("ies", "y"), ("ied", "y"), ("ss", "ss"), ("us", "us"), ("is", "is"),
    ("xes", "x"), ("ches", "ch"), ("shes", "sh"), ("s", ""), ("ing", ""), ("eed", "eed"), ("ed", ""),
)
_VOWEL: Final = re.compile("[aeiouy]")
_DOUBLED: Final = re.compile(r"([bdfgmnprt])\1\Z")
