"""Rail: text that speaks to the model instead of about the world.

Signals are patterns over a folded text (compatibility forms, case, accents, invisible characters and mixed-in look-alike
letters removed), each with a weight; a text's score is the chance that at least one means it, `1 - prod(1 - weight)`.
Every finding carries the score of its whole text, so that one threshold decides. It is one layer: passages are also
delimited and labelled as data, and answers are checked against their quotes.
Sources: OWASP LLM01:2025; Greshake et al. 2023 (arXiv:2302.12173); Perez and Ribeiro 2022 (arXiv:2211.09527).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from math import prod

from headrace_moderate.domain.verdicts import Finding, Rail, Subject
from headrace_moderate.rails._injection_signals import SIGNALS

_LOOKALIKES = str.maketrans("аеорсухіјѕԁһӏԛԝкмтвνοραικτυχ", "aeopcyxijsdhlqwkmtbvopaiktux")
_WORD = re.compile(r"\w+")
_INVISIBLE = frozenset({"Cf", "Cc", "Co"})
_ACCENTS = range(0x0300, 0x0370)


def build() -> Rail:
    """Look for all signals."""
    return _prompt_injection


def _prompt_injection(subject: Subject) -> Sequence[Finding]:
    folded, origins = fold(subject.text)
    hits: dict[str, tuple[float, int, int]] = {}
    for signal in SIGNALS:
        # Most texts hold none of a signal's words: looking for those first is some thirty times cheaper.
        if signal.code in hits or not any(word in folded for word in signal.words):
            continue
        if match := signal.pattern.search(folded):
            hits[signal.code] = (signal.weight, *match.span())
    score = 1.0 - prod(1.0 - weight for weight, _, _ in hits.values())
    return [Finding(code, *_span(origins, start, end), score) for code, (_, start, end) in hits.items()]


def fold(text: str) -> tuple[str, Sequence[int]]:
    """Return the text as the patterns read it, and for each of its code points the index that it stems from."""
    if text.isascii():
        return text.lower(), range(len(text) + 1)
    characters: list[str] = []
    origins: list[int] = []
    for index, character in enumerate(text):
        plain = character if character.isascii() else _plain(character)
        characters.append(plain.lower())
        origins += [index] * len(characters[-1])
    return _WORD.sub(_latinised, "".join(characters)), [*origins, len(text)]


def _plain(character: str) -> str:
    decomposed = unicodedata.normalize("NFKD", character)
    kept = (c for c in decomposed if ord(c) not in _ACCENTS and unicodedata.category(c) not in _INVISIBLE)
    return unicodedata.normalize("NFC", "".join(kept))


def _latinised(match: re.Match[str]) -> str:
    # Only a word that already holds Latin letters is read as one: Greek and Russian stay what they are.
    word = match.group()
    return word if word.isascii() or not re.search("[a-z]", word) else word.translate(_LOOKALIKES)


def _span(origins: Sequence[int], start: int, end: int) -> tuple[int, int]:
    return origins[start], origins[end - 1] + 1
