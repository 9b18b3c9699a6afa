"""What retrieval hands to answering, as values, and how overlapping passages become one.

It knows nothing of how passages are found or sent.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that matched: `text` is the stored text's span from `start` to `end`, in code points.

    `page` counts from 1 and is 0 where the format has no pages; `score` is comparable within one query only.
    """

    document: str
    version: int
    chunk_id: str
    start: int
    end: int
    text: str
    page: int = 0
    score: float = 0.0
    title: str = ""


@dataclass(frozen=True, slots=True)
class TermStatistics:
    """In how many of `chunks_total` chunks each term of the question occurs; terms as the store's analysis leaves them.

    A term that is missing occurs nowhere. With `chunks_total` 0 nothing is known, and every term weighs the same.
    """

    document_frequency: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    chunks_total: int = 0


def stitch(passages: Iterable[Passage]) -> tuple[Passage, ...]:
    """Join passages of one document version that overlap or touch, in the place of the best one; order is kept.

    Otherwise the same sentence would be quoted twice, and a sentence that a chunk's end cuts could not be quoted whole.
    """
    stitched: list[Passage] = []
    for passage in passages:
        joined = passage
        place = len(stitched)
        for i in reversed(range(len(stitched))):
            if _touch(stitched[i], joined):
                joined = _join(stitched.pop(i), joined)
                place = i
        stitched.insert(place, joined)
    return tuple(stitched)


def _touch(a: Passage, b: Passage) -> bool:
    return (a.document, a.version) == (b.document, b.version) and a.start <= b.end and b.start <= a.end


def _join(better: Passage, other: Passage) -> Passage:
    first, second = sorted((better, other), key=lambda passage: (passage.start, -passage.end))
    beyond = second.text[max(0, first.end - second.start) :] if second.end > first.end else ""
    end = max(first.end, second.end)
    return replace(better, start=first.start, end=end, text=first.text + beyond, page=first.page)
