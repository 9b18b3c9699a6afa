"""A text cut into chunks that an embedder can hold, each an exact span of the text.

One pass: the text is tokenized window by window, and each chunk ends at the strongest boundary (heading, paragraph,
sentence, line, word) in the last part of what fits. No overlap: neighbours can be fetched by ordinal, and a quote
stands in one chunk only.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from headrace_ingest.domain.parsed import Page, ParsedDocument

WINDOW_CHARS = 16_384

# A boundary pattern and how full a chunk must be, at least, to end there. The strongest come first; a cut is at the
# match's end.
_BOUNDARIES = (
    (re.compile(r"\n(?=#{1,6} )"), 0.25),  # before a heading
    (re.compile(r"\n[ \t\r]*\n\s*"), 0.4),  # after a paragraph
    (re.compile(r"\n(?=[ \t]*(?:[-*+|]|\d{1,3}[.)])[ \t])"), 0.5),  # before a list item or table row
    (re.compile(r"[.!?\u2026][\"'\u201d\u2019)\]]*\s+|[\u3002\uff01\uff1f]"), 0.4),  # after a sentence
    (re.compile(r"\n"), 0.5),
    (re.compile(r"\s+"), 0.0),
)
_LOOKAHEAD_CHARS = 8


class Tokens(Protocol):
    """A tokenizer, without special tokens. Blocking, and fast enough to be called in the process that parses."""

    def starts(self, text: str) -> Sequence[int]:
        """Return where each token begins, in code points, ascending."""

    def counts(self, texts: Sequence[str]) -> Sequence[int]:
        """Return how many tokens each text has on its own."""


@dataclass(frozen=True, slots=True)
class ChunkSize:
    """How much a chunk may hold. Characters are bounded too: a tokenizer may call an endless word a single token."""

    tokens_max: int = 200
    chars_max: int = 3_200


@dataclass(frozen=True, slots=True)
class Span:
    """`text[start:end]` in code points, and its tokens."""

    start: int
    end: int
    tokens: int


@dataclass(frozen=True, slots=True)
class ChunkedDocument:
    """A parsed document and where its chunks lie."""

    document: ParsedDocument
    spans: tuple[Span, ...]


def cut(text: str, tokens: Tokens, size: ChunkSize) -> Iterator[Span]:
    """Yield the chunks of a text in order.

    They do not overlap, neither begin nor end with a space, leave out nothing but spaces, and each has 1 to
    `tokens_max` tokens (a single code point that has more stands alone).
    """
    position = 0
    while position < len(text):
        end = min(len(text), position + max(WINDOW_CHARS, 4 * size.chars_max))
        window = text[position:end]
        ends = list(_ends(window, tokens.starts(window), size, last=end == len(text)))
        bounds = zip([0, *ends], ends, strict=False)
        spans = (_trimmed(text, position + a, position + b) for a, b in bounds)
        yield from _measured(text, [span for span in spans if span[0] < span[1]], tokens, size)
        position += ends[-1]


def page_of(pages: Sequence[Page], start: int) -> int:
    """Return the number of the page that a position lies on, or 0 where the format has no pages."""
    index = bisect_right(pages, start, key=lambda page: page.start)
    return pages[index - 1].number if index else 0


def _ends(window: str, starts: Sequence[int], size: ChunkSize, *, last: bool) -> Iterator[int]:
    """Yield where the window's chunks end. Unless it is the last window, what may go on in the next one is left out."""
    position = 0
    while position < len(window):
        first = bisect_left(starts, position)
        fits = starts[first + size.tokens_max] if first + size.tokens_max < len(starts) else len(window)
        limit = min(fits, position + size.chars_max)
        if limit < len(window):
            limit = _boundary(window, position, max(limit, position + 1))
        elif not last and position:
            return
        yield limit
        position = limit


def _boundary(window: str, start: int, limit: int) -> int:
    """Return the best place to cut after `start` and at or before `limit`."""
    for pattern, fill in _BOUNDARIES:
        low = start + int(fill * (limit - start))
        found = pattern.finditer(window, low, limit + _LOOKAHEAD_CHARS)
        ends = [match.end() for match in found if start < match.end() <= limit]
        if ends:
            return ends[-1]
    return limit


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    lead = len(piece) - len(piece.lstrip())
    return start + lead, max(start + lead, start + len(piece.rstrip()))


def _measured(text: str, spans: Sequence[tuple[int, int]], tokens: Tokens, size: ChunkSize) -> Iterator[Span]:
    """Yield the spans with their own token counts; where a cut inside a word made one too long, it is halved."""
    counts = tokens.counts([text[start:end] for start, end in spans])
    for (start, end), count in zip(spans, counts, strict=True):
        if count <= size.tokens_max or end - start == 1:
            yield Span(start, end, max(count, 1))
        else:
            middle = _boundary(text, start, start + (end - start) // 2)
            halves = (_trimmed(text, start, middle), _trimmed(text, middle, end))
            yield from _measured(text, [half for half in halves if half[0] < half[1]], tokens, size)
