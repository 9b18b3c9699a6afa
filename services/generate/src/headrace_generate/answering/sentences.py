"""Cut a passage into the units that may be quoted, each with its exact span.

Prose is cut into sentences; a list item, a table row and a block of code are units of their own; headings and column
heads become the context of what stands below them. The units' spans lie in order, never overlap and together cover
everything but white space, so nothing of a passage is lost and every quote is verbatim by construction.

This knows the shapes of Markdown and of plain text. It does not build a document tree, and it rates nothing.
"""

# ruff: noqa: RUF001

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Final

UNIT_CHARS_MAX: Final = 800
"""A longer unit is cut at a line's or a word's end: a quote must stay something that one reads at a glance."""


class UnitKind(Enum):
    """What a unit is, which decides whether it may be quoted."""

    SENTENCE = "sentence"
    ITEM = "item"
    ROW = "row"
    CODE = "code"
    HEADING = "heading"
    COLUMNS = "columns"
    MARKUP = "markup"

    @property
    def quotable(self) -> bool:
        """Headings and column heads give context and markup gives shape; none of them says anything by itself."""
        return self not in {UnitKind.HEADING, UnitKind.COLUMNS, UnitKind.MARKUP}


_TABLE: Final = frozenset({UnitKind.COLUMNS, UnitKind.ROW, UnitKind.MARKUP})


@dataclass(frozen=True, slots=True)
class Unit:
    """A span of a text: `text[start:end] == self.text`, in code points; `context` holds the headings above it."""

    start: int
    end: int
    text: str
    kind: UnitKind
    context: tuple[str, ...] = ()


def split_units(text: str) -> tuple[Unit, ...]:
    """Cut `text` into units, in order; white space between them is all that is left out."""
    headings: dict[int, str] = {}
    columns: tuple[str, ...] = ()
    units: list[Unit] = []
    for block in _blocks(text):
        whole = text[block.start : block.end]
        if block.kind not in _TABLE:
            columns = ()
        kind = block.kind if block.kind not in _FLOWING or _reads(whole) else UnitKind.CODE
        spans = _sentence_spans(text, block) if block.kind.quotable else ((block.start, block.end),)
        context = (*headings.values(), *columns)
        units += [Unit(start, end, text[start:end], kind, context) for start, end in spans]
        if block.kind is UnitKind.COLUMNS:
            columns = (whole,)
        elif block.kind is UnitKind.HEADING:
            headings = {level: title for level, title in headings.items() if level < block.level}
            headings[block.level] = _heading_title(whole)
    return tuple(units)


# --- blocks: what the shape of the lines says ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Line:
    start: int
    text: str

    @property
    def blank(self) -> bool:
        return not self.text.strip()


@dataclass(frozen=True, slots=True)
class _Block:
    start: int
    end: int
    kind: UnitKind
    level: int = 0


_FENCE: Final = re.compile(r"[ \t]{0,3}(?:```|~~~)(?P<info>.*)", re.DOTALL)
_DRAWN: Final = re.compile("[\u2500-\u259f\u25b2-\u25c5]")
"""Lines, blocks and arrow heads of drawings made of text."""
_DRAWN_MIN: Final = 2
_HEADING: Final = re.compile(r"[ ]{0,3}(?P<marks>#{1,6})[ \t]+\S")
_UNDERLINE: Final = re.compile(r"[ ]{0,3}(?:=+|-{2,})[ \t]*\Z")
_RULE: Final = re.compile(r"\s*(?:(?:[-*_=+][ \t]*){3,}|<!--.*-->)\s*\Z")
_DELIMITER_ROW: Final = re.compile(r"\s*\|?(?:\s*:?-{2,}:?\s*\|)+\s*(?::?-{2,}:?)?\s*\Z")
_ROW: Final = re.compile(r"\s*\|.*\|\s*\Z")
_MARKER: Final = re.compile(
    r"\s*(?:>[ \t]?)*\s*(?:[-*+•‣▪◦–]|\(?\d{1,3}[.)]|\(?[A-Za-z]\))[ \t]+(?=\S)|\s*(?:>[ \t]?)+"
)


def _lines(text: str) -> list[_Line]:
    lines, start = [], 0
    for part in text.splitlines(keepends=True):
        lines.append(_Line(start, part.rstrip("\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029")))
        start += len(part)
    return lines


def _blocks(text: str) -> Iterator[_Block]:
    """Yield trimmed blocks in order; only white space stands between them."""
    lines = _lines(text)
    code = _code_lines(lines)
    i = 0
    while i < len(lines):
        j, kind = _block_end(lines, code, i)
        if not lines[i].blank:
            yield from _trimmed(text, lines, i, j, kind)
        i = j


def _code_lines(lines: list[_Line]) -> frozenset[int]:
    """Numbers of the lines of fenced code, fences included, and of drawings with or without a fence.

    A passage may start inside a block: an odd number of fences, the first one bare, means that it closes.
    """
    drawn = {i for i, line in enumerate(lines) if len(_DRAWN.findall(line.text)) >= _DRAWN_MIN}
    fences = [i for i, line in enumerate(lines) if _FENCE.match(line.text)]
    first = _FENCE.match(lines[fences[0]].text) if fences else None
    if first is not None and len(fences) % 2 and not first["info"].strip():
        fences = [0, *fences] if fences[0] else fences
    if len(fences) % 2:
        fences.append(len(lines) - 1)
    fenced = (range(begin, end + 1) for begin, end in zip(fences[::2], fences[1::2], strict=True))
    return frozenset(drawn.union(*fenced))


def _block_end(lines: list[_Line], code: frozenset[int], i: int) -> tuple[int, UnitKind]:
    """Tell the first line after what starts at line `i`, and what that is."""
    if lines[i].blank:
        return i + 1, UnitKind.MARKUP
    if i in code:
        return next((n for n in range(i, len(lines)) if n not in code), len(lines)), UnitKind.CODE
    after = lines[i + 1].text if i + 1 < len(lines) and i + 1 not in code else ""
    kind = _line_kind(lines[i].text, after)
    if kind is UnitKind.HEADING and not _HEADING.match(lines[i].text):
        return i + 2, kind
    j = i + 1
    while kind in _FLOWING and j < len(lines) and not lines[j].blank and not _starts_block(lines, code, j):
        j += 1
    return j, kind


def _line_kind(line: str, after: str) -> UnitKind:
    """Tell what a line outside code begins, given the line after it; the first shape that fits wins."""
    marker = _MARKER.match(line) is not None
    shapes = (
        (_HEADING.match(line), UnitKind.HEADING),
        (_RULE.match(line) or _DELIMITER_ROW.match(line), UnitKind.MARKUP),
        ("|" in line and _DELIMITER_ROW.match(after), UnitKind.COLUMNS),
        (_ROW.match(line), UnitKind.ROW),
        (line.strip() and not marker and _UNDERLINE.match(after), UnitKind.HEADING),
        (marker, UnitKind.ITEM),
    )
    return next((kind for fits, kind in shapes if fits), UnitKind.SENTENCE)


_FLOWING: Final = frozenset({UnitKind.SENTENCE, UnitKind.ITEM})
"""What goes on over the lines that follow, until a blank one or another block."""


def _starts_block(lines: list[_Line], code: frozenset[int], i: int) -> bool:
    line = lines[i].text
    shapes = (_HEADING, _RULE, _DELIMITER_ROW, _ROW, _MARKER)
    return i in code or any(shape.match(line) for shape in shapes)


def _trimmed(text: str, lines: list[_Line], i: int, j: int, kind: UnitKind) -> Iterator[_Block]:
    """Yield lines `i` to `j` without the white space around them, a list item's marker apart from what it marks."""
    start, end = _trim(text, lines[i].start, lines[j].start if j < len(lines) else len(text))
    if kind is UnitKind.HEADING:
        marks = _HEADING.match(lines[i].text)
        level = len(marks["marks"]) if marks else (1 if "=" in lines[j - 1].text else 2)
        yield _Block(start, end, kind, level)
        return
    marker = _MARKER.match(text, start, end) if kind is UnitKind.ITEM else None
    if marker is not None:
        yield _Block(*_trim(text, start, marker.end()), UnitKind.MARKUP)
        start, end = _trim(text, marker.end(), end)
    if start < end:
        yield _Block(start, end, kind)


def _heading_title(text: str) -> str:
    return text.splitlines()[0].strip().strip("#").strip()


def _reads(text: str) -> bool:
    """Tell prose from a diagram or code that no fence marks."""
    return sum(c.isalnum() or c.isspace() or c in _PUNCTUATION for c in text) >= _PROSE_SHARE_MIN * len(text)


_PROSE_SHARE_MIN: Final = 0.8
_PUNCTUATION: Final = frozenset(".,;:!?'\"()-–—‘’“”…。！？、")

# --- sentences: where prose ends ------------------------------------------------------------------------------------

_END: Final = re.compile(r"(?:[.!?…]+[\"'”’»)\]*_`]*(?:\[\d+\])*(?=\s)|[。！？｡]+[」』”）]*)")
_ABBREVIATION: Final = re.compile(
    r"(?:^|[\s(\[\"'“‘])(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|Rev|Hon|Gen|Col|Capt|Lt|Sgt|Gov|Sen|Rep|St|Mt|Ft|Jr|Sr|Inc|Ltd|Co|"
    r"Corp|No|Nos|Vol|Fig|Figs|Eq|Sec|Art|pp|p|ca|c|cf|vs|v|al|etc|approx|est|e\.g|i\.e|a\.k\.a|[A-Z](?:\.[A-Z])+|"
    r"Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec)\.\Z",
)
_ABBREVIATION_CHARS_MAX: Final = 12
_LOWERCASE_NEXT: Final = re.compile(r"\s+[^\w\s]*(?:[a-z])")


def _sentence_spans(text: str, block: _Block) -> Iterator[tuple[int, int]]:
    if block.kind in {UnitKind.ROW, UnitKind.CODE}:
        cuts = [block.start, block.end]
    else:
        ends = (match.end() for match in _END.finditer(text, block.start, block.end))
        cuts = [block.start, *(end for end in ends if _is_sentence_end(text, block, end)), block.end]
    for begin, end in pairwise(cuts):
        start, stop = _trim(text, begin, end)
        if start < stop:
            yield from _pieces(text, start, stop)


def _is_sentence_end(text: str, block: _Block, end: int) -> bool:
    """Tell a sentence's end from an abbreviation, an initial or an ellipsis in mid-sentence."""
    before = text[max(block.start, end - _ABBREVIATION_CHARS_MAX) : end]
    return not _ABBREVIATION.search(before) and not _LOWERCASE_NEXT.match(text, end, block.end)


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut what is too long to quote at the last line's or word's end that fits."""
    while end - start > UNIT_CHARS_MAX:
        limit = start + UNIT_CHARS_MAX
        cut = max(text.rfind("\n", start + 1, limit), 0) or max(text.rfind(" ", start + 1, limit), 0) or limit
        piece = _trim(text, start, cut)
        if piece[0] < piece[1]:
            yield piece
        start, _ = _trim(text, cut, end)
    if start < end:
        yield start, end


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
