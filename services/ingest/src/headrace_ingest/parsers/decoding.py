"""Bytes to text: Unicode when the bytes say so, Windows-1252 only when that is plausible, otherwise a refusal.

A wrong guess would store text that nobody wrote and quote it for ever, so there is no statistical detection here.
"""

import codecs
import re

from headrace_ingest.domain.parsed import ParsingError, Reason

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
_CONTROLS_SHARE_MAX = 0.01
_ASCII_LETTERS_SHARE_MIN = 0.6
_LETTERS_SAMPLE_CHARS = 1_000_000


def decode(content: bytes, declared: str = "") -> str:
    """Return the text, without its byte order mark and otherwise unchanged.

    `declared` is an encoding that the document itself names (an HTML meta element); it is tried after UTF-8.
    Raises ParsingError(NOT_TEXT).
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _checked(_decoded(content[len(mark) :], encoding))
    text = _decoded(content, "utf-8")
    if text is None and declared:
        text = _decoded(content, declared)
    return _checked(_windows_1252(content) if text is None else text)


def _decoded(content: bytes, encoding: str) -> str | None:
    try:
        return content.decode(encoding)
    except (UnicodeError, LookupError):
        return None


def _windows_1252(content: bytes) -> str | None:
    """Decode Western European text. Russian or Japanese bytes decode too, but into nonsense with few ASCII letters."""
    text = _decoded(content, "cp1252")
    if text is None or _CONTROLS.search(text):
        return None
    letters = [char for char in text[:_LETTERS_SAMPLE_CHARS] if char.isalpha()]
    ascii_letters = sum(char.isascii() for char in letters)
    return text if ascii_letters >= _ASCII_LETTERS_SHARE_MIN * len(letters) else None


def _checked(text: str | None) -> str:
    """Refuse what decodes but is no text: binary files are often valid UTF-8 for a while, and no store takes a NUL."""
    if text is None:
        raise ParsingError(
            Reason.NOT_TEXT, "neither UTF-8, nor UTF-16 or UTF-32 with a byte order mark, nor Windows-1252"
        )
    if "\x00" in text or sum(1 for _ in _CONTROLS.finditer(text)) > _CONTROLS_SHARE_MAX * len(text):
        raise ParsingError(Reason.NOT_TEXT, "it holds binary data")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ParsingError(Reason.NOT_TEXT, "it holds half of a surrogate pair") from error
    return text
