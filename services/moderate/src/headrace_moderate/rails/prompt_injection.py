"""Rail: text that speaks to the model instead of about the world.

Signals (prompt_injection.yaml) are patterns over a folded text: compatibility forms, case, accents, invisible
characters and mixed-in look-alike letters removed. Each has a weight; a text's score is the chance that at least one
means it, and every finding carries the score of its whole text, so that one threshold decides. It is one layer of
several: passages are also delimited and labelled as data, and answers are checked against their quotes.
Sources: OWASP LLM01:2025; Greshake et al. 2023 (arXiv:2302.12173); Perez and Ribeiro 2022 (arXiv:2211.09527).
"""

from __future__ import annotations

import importlib.resources
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import yaml

from headrace_moderate.domain.verdicts import Finding, Rail, Subject

# Cyrillic and Greek letters that look Latin, spelled by number because nobody could proofread them otherwise.
_LOOKALIKES = {
    0x430: "a", 0x435: "e", 0x43E: "o", 0x440: "p", 0x441: "c", 0x443: "y", 0x445: "x", 0x456: "i", 0x458: "j",
    0x455: "s", 0x501: "d", 0x4BB: "h", 0x4CF: "l", 0x51B: "q", 0x51D: "w", 0x43A: "k", 0x43C: "m", 0x442: "t",
    0x432: "b", 0x3BD: "v", 0x3BF: "o", 0x3C1: "p", 0x3B1: "a", 0x3B9: "i", 0x3BA: "k", 0x3C4: "t", 0x3C5: "u",
    0x3C7: "x",
}  # fmt: skip
_WORD = re.compile(r"\w+")
_LATIN = re.compile(r"[a-z]")
_APOSTROPHES = "\u2018\u2019\u02bc"
_INVISIBLE = frozenset({"Cf", "Cc", "Co"})
_ACCENTS = range(0x0300, 0x0370)


@dataclass(frozen=True, slots=True)
class _Signal:
    code: str
    weight: float
    words: tuple[str, ...]
    pattern: re.Pattern[str]


def build() -> Rail:
    """Look for every declared signal."""
    signals = _signals()

    def prompt_injection(subject: Subject) -> Sequence[Finding]:
        folded, origins = fold(subject.text)
        hits = _hits(signals, folded)
        score = 1.0 - prod(1.0 - weight for weight, _, _ in hits.values())
        return [Finding(code, origins[start], origins[end - 1] + 1, score) for code, (_, start, end) in hits.items()]

    return prompt_injection


def fold(text: str) -> tuple[str, Sequence[int]]:
    """Return the text as the patterns read it, and for each of its code points the index that it stems from."""
    if text.isascii():
        return text.lower(), range(len(text))
    characters: list[str] = []
    origins: list[int] = []
    for index, character in enumerate(text):
        characters.append((character if character.isascii() else _plain(character)).lower())
        origins += [index] * len(characters[-1])
    return _WORD.sub(_latinised, "".join(characters)), origins


def _hits(signals: Sequence[_Signal], folded: str) -> dict[str, tuple[float, int, int]]:
    hits: dict[str, tuple[float, int, int]] = {}
    for signal in signals:
        # Most texts hold none of a signal's words: looking for those first is some thirty times cheaper.
        if signal.code in hits or not any(word in folded for word in signal.words):
            continue
        if match := signal.pattern.search(folded):
            hits[signal.code] = (signal.weight, *match.span())
    return hits


def _plain(character: str) -> str:
    if character in _APOSTROPHES:
        return "'"
    decomposed = unicodedata.normalize("NFKD", character)
    kept = (c for c in decomposed if ord(c) not in _ACCENTS and unicodedata.category(c) not in _INVISIBLE)
    return unicodedata.normalize("NFC", "".join(kept))


def _latinised(match: re.Match[str]) -> str:
    # Only a word that already holds Latin letters is read as one: Greek and Russian stay what they are.
    word = match.group()
    return word if word.isascii() or not _LATIN.search(word) else word.translate(_LOOKALIKES)


@cache
def _signals() -> tuple[_Signal, ...]:
    text = importlib.resources.files(__package__).joinpath("prompt_injection.yaml").read_text(encoding="utf-8")
    declared = yaml.safe_load(text)
    groups = {name: _joined(pattern) for name, pattern in declared["groups"].items()}
    return tuple(_signal(entry, groups) for entry in declared["signals"])


def _signal(entry: Mapping[str, Any], groups: Mapping[str, str]) -> _Signal:
    pattern = re.sub(r"\{([A-Z]+)\}", lambda match: groups[match.group(1)], _joined(entry["pattern"]))
    gaps = re.sub(r" ?<(\d)> ", r"[\\W_]{1,6}(?:[\\w']{1,30}[\\W_]{1,6}){0,\1}", pattern)
    spelled = gaps.replace(" ", r"(?:[\W_]{1,6})")
    return _Signal(entry["code"], entry["weight"], tuple(entry["words"]), re.compile(spelled, re.MULTILINE))


def _joined(pattern: str | list[str]) -> str:
    return pattern if isinstance(pattern, str) else "".join(pattern)
