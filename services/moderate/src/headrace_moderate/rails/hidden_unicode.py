"""Rail: characters that a reader does not see and a model does.

Joiners, direction marks and selectors have honest uses: emoji sequences, Persian and Indic spelling, text of mixed
direction. Only what has no such use where it stands is found. Look-alike letters are visible and left alone.
Sources: Unicode 15.1 chapters 9.2, 12 and 23; UTS 51 (emoji sequences); Boucher and Anderson, "Trojan Source", 2021.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, get_args

from headrace_moderate.domain.verdicts import Finding, Rail, Subject

Kind = Literal["zero_width", "bidi", "bidi_override", "tag", "variation_selector"]

_SUSPECT = re.compile(
    r"(?P<joiner>[\u200c\u200d]+)"
    r"|(?P<zero_width>[\u200b\u2060-\u2064\ufeff\u180e\u3164\uffa0]+)"
    r"|(?P<bidi_override>[\u202d\u202e]+)"
    r"|(?P<bidi>[\u200e\u200f\u061c\u202a-\u202c\u2066-\u2069]+)"
    r"|(?P<tag>[\U000e0000-\U000e007f]+)"
    r"|(?P<variation_selector>[\ufe00-\ufe0f\U000e0100-\U000e01ef]+)"
)
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
_OPENING = frozenset("\u202a\u202b\u2066\u2067\u2068")
_CLOSING = frozenset("\u202c\u2069")
_BLACK_FLAG = "\U0001f3f4"  # the base of flags spelled in tags, such as Scotland's
_CANCEL_TAG = "\U000e007f"
_FLAG_TAGS_MAX = 7  # six letters of a subdivision, and the cancel tag
_PICTURED = frozenset("#*0123456789\u2139\u3030")  # not symbols by category, and emoji with a selector
# Scripts whose spelling uses joiners between letters.
_JOINING = (
    "ARABIC", "SYRIAC", "MONGOLIAN", "NKO", "DEVANAGARI", "BENGALI", "GURMUKHI", "GUJARATI", "ORIYA", "TAMIL", "TELUGU",
    "KANNADA", "MALAYALAM", "SINHALA", "KHMER", "MYANMAR", "TIBETAN", "BALINESE", "JAVANESE",
)  # fmt: skip


def build(*, kinds: Iterable[Kind] = get_args(Kind)) -> Rail:
    """Look for `kinds`; masking drops what is found."""
    wanted = frozenset(kinds)
    if unknown := wanted - set(get_args(Kind)):
        raise ValueError(f"unknown kinds {sorted(unknown)}")

    def hidden_unicode(subject: Subject) -> Sequence[Finding]:
        if subject.text.isascii():
            return ()
        return [finding for finding in _findings(subject.text) if finding.code in wanted]

    return hidden_unicode


def _findings(text: str) -> Iterator[Finding]:
    directions: bool | None = None  # whether direction marks have a use here: computed once, and only if asked
    for match in _SUSPECT.finditer(text):
        start, end = match.span()
        kind = str(match.lastgroup)
        if kind == "bidi":
            directions = _mixes_directions(text) if directions is None else directions
        if not _honest(kind, text, start, end, directions=bool(directions)):
            yield Finding("zero_width" if kind == "joiner" else kind, start, end)


def _honest(kind: str, text: str, start: int, end: int, *, directions: bool) -> bool:
    before = text[start - 1] if start else ""
    after = text[end : end + 1]
    if kind == "joiner":
        return end - start == 1 and bool(before) and (_joins(before) or (_pictures(before) and _pictures(after)))
    if kind == "zero_width":
        return text[start:end] == "\ufeff" and start == 0  # a byte order mark
    if kind == "bidi":
        return directions
    if kind == "tag":
        return before == _BLACK_FLAG and end - start <= _FLAG_TAGS_MAX and text[end - 1] == _CANCEL_TAG
    if kind == "variation_selector":
        return end - start == 1 and bool(before) and _has_variants(before, text[start])
    return False


def _joins(character: str) -> bool:
    return unicodedata.name(character, "").startswith(_JOINING)


def _pictures(character: str) -> bool:
    # A selector or a skin tone may stand between the picture and its joiner.
    return bool(character) and (unicodedata.category(character) in {"So", "Sk"} or character == "\ufe0f")


def _has_variants(base: str, selector: str) -> bool:
    ideograph = unicodedata.name(base, "").startswith(("CJK", "MYANMAR", "PHAGS-PA", "MANICHAEAN"))
    if selector > "\ufe0f":  # the supplement is for ideographs alone
        return ideograph
    return ideograph or base in _PICTURED or unicodedata.category(base) in {"So", "Sm", "Sk", "Po"}


def _mixes_directions(text: str) -> bool:
    depth = 0
    for character in text:
        depth += (character in _OPENING) - (character in _CLOSING)
        if depth < 0:
            return False
    return depth == 0 and any(_written_to_the_left(character) for character in text)


def _written_to_the_left(character: str) -> bool:
    # Marks have a direction too; only letters and digits need one.
    return unicodedata.bidirectional(character) in _RIGHT_TO_LEFT and unicodedata.category(character) != "Cf"
