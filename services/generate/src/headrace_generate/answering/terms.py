"""Read a text as words: the one analysis that scoring and the support check share.

A word is folded (case, diacritics, compatibility forms), a number keeps its sign, currency and percent, and a
regularly inflected English word has a conservative stem. What is left alone: synonyms, spelling, other languages'
inflection (a word there is its own stem), and meaning.
"""

import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

FUNCTION_WORDS: Final = frozenset(
    """
    a an the this that these those it its itself he him his himself she her hers herself they them their theirs
    themselves we us our ours i me my mine you your yours who whom whose which what where when why how am is are was
    were be been being has have had having do does did doing done of in on at by for from with to into onto upon
    about as and or but if then than so also too there here during through over under between among within while
    because since such both each per via s t ll re ve d m
    """.split()  # noqa: SIM905 - reads as the list that it is
)
"""Words too common to tell what a text is about."""

NUMBER_WORDS: Final = frozenset(
    """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion
    trillion half third quarter dozen once twice percent
    """.split()  # noqa: SIM905 - reads as the list that it is
)


@dataclass(frozen=True, slots=True)
class Term:
    """A word of a text: where it stands, how it reads folded, its stem, and whether it is written with a capital."""

    start: int
    end: int
    folded: str
    stem: str
    capital: bool

    @property
    def is_number(self) -> bool:
        """Digits or a number word: a claim that no other word may stand in for."""
        return self.folded in NUMBER_WORDS or any(c.isnumeric() for c in self.folded)

    @property
    def is_content(self) -> bool:
        """Tell a word that says what a text is about from the glue between such words."""
        return self.folded not in FUNCTION_WORDS


_WORD: Final = re.compile(
    r"(?:(?<![\w)])[-\N{MINUS SIGN}+])?[$€£¥]?\d+(?:[.,:/]\d+)*[^\W_]*(?:[ ]?[%°])?"
    r"|[^\W_]+",
)


_read: ContextVar[dict[str, tuple[Term, ...]] | None] = ContextVar("read", default=None)


@contextmanager
def each_text_read_once() -> Iterator[None]:
    """Remember what `terms` reads until the block ends, in this task alone: sentences are asked for several times."""
    token = _read.set({})
    try:
        yield
    finally:
        _read.reset(token)


def terms(text: str) -> tuple[Term, ...]:
    """Return the words of `text` in order."""
    read = _read.get()
    if read is None:
        return tuple(_terms(text))
    if text not in read:
        read[text] = tuple(_terms(text))
    return read[text]


def content_stems(text: str) -> tuple[str, ...]:
    """Return the stems of the words that say what `text` is about, in order, repeated where they repeat."""
    return tuple(term.stem for term in terms(text) if term.is_content)


def fold(word: str) -> str:
    """Fold case, compatibility forms and Latin diacritics; fractions and superscripts stay what they are."""
    if word.isascii():
        return word.lower()
    compatible = "".join(c if unicodedata.category(c) == "No" else unicodedata.normalize("NFKD", c) for c in word)
    return "".join(c for c in compatible if not "\u0300" <= c <= "\u036f").casefold()


def stem(word: str) -> str:
    """Take a regular English inflection off: plural, past, participle. Never a derivation, which may change a claim."""
    if len(word) < _STEM_CHARS_MIN or not (word.isascii() and word.isalpha()):
        return word
    for ending, instead in _ENDINGS:
        rest = word.removesuffix(ending)
        if rest != word and len(rest + instead) >= _STEM_CHARS_MIN - 1 and _VOWEL.search(rest):
            word = rest + instead
            if ending in {"ing", "ed"}:
                word = _restored(word)
            break
    return word[:-1] if word.endswith("e") and len(word) > _STEM_CHARS_MIN else word


def _restored(word: str) -> str:
    """Undo what English spelling does before an ending: `plann` was `plan`, `mak` was `make`."""
    if _DOUBLED.search(word) and len(word) > _STEM_CHARS_MIN - 1:
        return word[:-1]
    return word + "e" if _LOST_E.fullmatch(word) else word


_STEM_CHARS_MIN: Final = 4
_ENDINGS: Final = (
    *(("sses", "ss"), ("ies", "y"), ("ied", "y"), ("ss", "ss"), ("us", "us"), ("is", "is")),
    *(("xes", "x"), ("ches", "ch"), ("shes", "sh"), ("s", ""), ("ing", ""), ("eed", "eed"), ("ed", "")),
)
_VOWEL: Final = re.compile("[aeiouy]")
_LOST_E: Final = re.compile("[^aeiouy][aeiouy][^aeiouywx]")
_DOUBLED: Final = re.compile(r"([bdfgmnprt])\1\Z")


def _terms(text: str) -> Iterator[Term]:
    for match in _WORD.finditer(text):
        folded = fold(match[0]).replace(" ", "")
        yield Term(match.start(), match.end(), folded, stem(folded), match[0][0].isupper())
