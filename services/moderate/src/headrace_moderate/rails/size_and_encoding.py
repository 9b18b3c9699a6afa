"""Rail: a text that is empty, too long, or holds code points that no honest text holds.

Invisible but legal characters are left to `hidden_unicode`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

from headrace_moderate.domain.verdicts import Finding, Rail, Subject

Kind = Literal["empty", "too_long", "lone_surrogate", "control_character"]

_VISIBLE = re.compile(
    r"[^\s\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)
_SURROGATE = re.compile(r"[\ud800-\udfff]+")
_CONTROL = re.compile(
    r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f]+"
)  # not tab, line feed, form feed, return, next line


def build(*, bytes_max: int = 16_384, kinds: Iterable[Kind] = get_args(Kind)) -> Rail:
    """Look for `kinds`; `bytes_max` is the longest UTF-8 form that is not `too_long`."""
    wanted = frozenset(kinds)
    if unknown := wanted - set(get_args(Kind)):
        raise ValueError(f"unknown kinds {sorted(unknown)}")

    def size_and_encoding(subject: Subject) -> Sequence[Finding]:
        return [finding for finding in _findings(subject.text, bytes_max) if finding.code in wanted]

    return size_and_encoding


def _findings(text: str, bytes_max: int) -> Iterable[Finding]:
    if not _VISIBLE.search(text):
        yield Finding("empty", 0, len(text))
    if len(text) > bytes_max or len(text.encode("utf-8", "surrogatepass")) > bytes_max:
        yield Finding("too_long", 0, len(text))
        return  # what is refused for its size is not searched
    yield from (Finding("lone_surrogate", *match.span(), mask="\ufffd") for match in _SURROGATE.finditer(text))
    yield from (Finding("control_character", *match.span()) for match in _CONTROL.finditer(text))
