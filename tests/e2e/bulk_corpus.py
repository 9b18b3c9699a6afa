"""A seeded corpus of any size, with markers that occur once: what was put in is known to the last sentence."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from pydoc_data.topics import topics as english

MEGABYTE = 1_000_000
_LARGE_SHARE = 0.5  # of the bytes lie in a few large files, the rest in a few hundred small ones
_LARGE = (0.05, 0.20)  # sizes as shares of the whole corpus: 5 to 20 MB of 100
_SMALL = (0.001, 0.005)
_NAMES = ("Ada", "Björn", "Chloë", "Dvořák", "Élodie", "Fürst", "雪", "Ω", "🚀")


@dataclass(frozen=True)
class Marker:
    """A word that stands in one document only."""

    word: str
    document: str


@dataclass(frozen=True)
class Corpus:
    """A folder of documents and the markers in them."""

    folder: Path
    documents: tuple[str, ...]
    markers: tuple[Marker, ...]

    def text(self, document: str) -> str:
        """Return a document's text as its spans count in it."""
        return (self.folder / document).read_bytes().decode()


def write_corpus(folder: Path, size_bytes: int, *, markers: int = 200, seed: int = 20261121) -> Corpus:
    """Write about `size_bytes` of txt and md files of very different sizes; no sentence occurs twice."""
    source = random.Random(seed)
    sentences = _sentences(source)
    documents: list[str] = []
    for number, length in enumerate(_sizes(source, size_bytes)):
        name = f"shelf-{number % 7}/volume-{number:04}.{'md' if number % 3 else 'txt'}"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(_document(source, sentences, length, heading=name.endswith(".md")).encode())
        documents.append(name)
    chosen = [source.choice(documents) for _ in range(markers - len(documents))] + documents
    placed = [Marker(_word(source, 12), document) for document in chosen[-markers:]]
    for document in sorted(set(chosen)):
        _place(source, folder / document, [one.word for one in placed if one.document == document])
    return Corpus(folder, tuple(documents), tuple(placed))


def _sizes(source: random.Random, size_bytes: int) -> Iterator[int]:
    for share, (low, high) in ((_LARGE_SHARE, _LARGE), (1 - _LARGE_SHARE, _SMALL)):
        left = share * size_bytes
        while left > 0:
            length = min(left, source.uniform(low, high) * size_bytes)
            left -= length
            yield max(int(length), 200)


def _document(source: random.Random, sentences: Iterator[str], length: int, *, heading: bool) -> str:
    pieces, size = [], 0
    while size < length:
        paragraph = " ".join(next(sentences) for _ in range(source.randint(2, 9)))
        if heading and source.random() < 0.1:
            paragraph = f"## {_word(source, 8)}\n\n{paragraph}"
        pieces.append(paragraph)
        size += len(paragraph) + 2
    return "\n\n".join(pieces) + "\n"


def _sentences(source: random.Random) -> Iterator[str]:
    """Yield sentences of English words, as frequent as in Python's own manual, each with its own number."""
    words_of_english = re.findall(r"[a-z]{2,}", " ".join(english.values()).lower())
    for number in count(1):
        words = source.choices(words_of_english, k=source.randint(5, 18))
        yield f"{' '.join(words).capitalize()} {source.choice(_NAMES)} {number}."


def _place(source: random.Random, path: Path, words: list[str]) -> None:
    paragraphs = path.read_bytes().decode().split("\n\n")
    for word in words:
        paragraphs[source.randrange(len(paragraphs))] += f" The seal of {word} was broken at dusk."
    path.write_bytes("\n\n".join(paragraphs).encode())


def _word(source: random.Random, letters: int) -> str:
    # Two words of twelve such letters are never the same, and no stemmer changes them.
    return "".join(source.choices(string.ascii_lowercase[1:4] + "fghjkmnpqtvwxz", k=letters))
