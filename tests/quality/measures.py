"""What is measured of an answer. On purpose it shares no code with the product: it must not repeat its mistakes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

_GLUE = frozenset(
    """
    a an the this that these those it its he his she her they their we our who whom which what where when why how am is
    are was were be been being has have had do does did of in on at by for from with to into onto as and or but if then
    than so also too there here during through over under between among within while because since such both each per
    """.split()  # noqa: SIM905 - reads as the list that it is
)
_STEM_CHARS = 4


def holds_gold(text: str, golds: Sequence[str]) -> bool:
    """Tell whether a text holds one of the gold answers, case and white space aside."""
    folded = _folded(text)
    return any(_folded(gold) in folded for gold in golds)


def ndcg_at_10(documents: Sequence[str], right: str) -> float:
    """Return the normalised discounted cumulative gain of a ranking with one right document."""
    ranked = list(dict.fromkeys(documents))[:10]
    return 1 / math.log2(ranked.index(right) + 2) if right in ranked else 0.0


def is_verbatim(citation: Mapping[str, Any], documents: Mapping[str, str]) -> bool:
    """Tell whether a citation's quote is its document's span, in code points."""
    text = documents.get(citation["document"], "")
    return bool(citation["quote"]) and text[citation["start"] : citation["end"]] == citation["quote"]


def unsupported_sentences(answer: str, quotes: Sequence[str]) -> list[str]:
    """Return the sentences of an answer with a number, name or content word that no quote has, inflection aside."""
    known = {word for quote in quotes for word in _words(quote)}
    stems = {word[:-2] for word in known if len(word) > _STEM_CHARS + 1} | known
    return [
        sentence
        for sentence in re.split(r"(?<=[.!?])\s+", answer)
        if not all(_is_known(word, known, stems) for word in _words(sentence) if word not in _GLUE)
    ]


def _is_known(word: str, known: set[str], stems: set[str]) -> bool:
    if word in known:
        return True
    if not word.isalpha():
        return False
    return any(len(stem) >= _STEM_CHARS and word.startswith(stem) for stem in stems)


def _words(text: str) -> list[str]:
    return re.findall(r"\d+(?:[.,:]\d+)*\w*|\w+", text.casefold())


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
