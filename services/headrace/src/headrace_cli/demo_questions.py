"""The demo's three questions: about this repository's own docs, or drawn from whatever folder it is given."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from headrace_cli.files import Found

NO_EVIDENCE = "What is the boiling point of tungsten?"
OWN_DOCS = ("Which service is the only producer of answer.completed?", "Which service rates the usage of each attempt?")
TEXT_ENDINGS = (".md", ".txt")
WORDS_MIN, WORDS_MAX = 8, 24


@dataclass(frozen=True)
class DemoQuestion:
    """A question and the outcome that the demo expects; None: any single outcome will do."""

    text: str
    expected: str | None


def questions_about(docs: Path, files: list[Found], question: str) -> list[DemoQuestion]:
    """Return the user's one question, or two that the documents answer and one that they do not."""
    if question:
        return [DemoQuestion(question, None)]
    asked = OWN_DOCS if _is_own(docs) else _drawn_from(files)
    return [*(DemoQuestion(one, "answered") for one in asked), DemoQuestion(NO_EVIDENCE, "refused")]


def _is_own(docs: Path) -> bool:
    return (docs / "architecture.md").is_file() and (docs / "adr").is_dir()


def _drawn_from(files: list[Found]) -> tuple[str, ...]:
    """Ask for what two sentences say, by their rarest words: a folder that is found at all answers that."""
    texts = [file.path.read_text("utf-8", "replace") for file in files if file.path.suffix in TEXT_ENDINGS]
    frequency = Counter(word for text in texts for word in set(_words(text)))
    sentences = [one for text in texts for one in re.split(r"(?<=[.!?])\s+", text) if _is_plain(one)]
    rarest = sorted(sentences, key=lambda one: sum(frequency[word] for word in _words(one)) / len(_words(one)))
    return tuple(f"What is said about {_subject(one, frequency)}?" for one in rarest[:2])


def _subject(sentence: str, frequency: Counter[str]) -> str:
    rare = set(sorted(set(_words(sentence)), key=lambda word: (frequency[word], -len(word)))[:6])
    return " ".join(dict.fromkeys(word for word in _words(sentence) if word in rare))


def _is_plain(sentence: str) -> bool:
    return WORDS_MIN <= len(_words(sentence)) <= WORDS_MAX and not re.search(r"[|`#*<>{}\[\]]", sentence)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]{4,}", text.lower())
