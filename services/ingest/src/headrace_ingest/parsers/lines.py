"""Printed lines flowed back into paragraphs, for formats that know where ink is and not what a paragraph is."""

import re

_SOFT_HYPHENS = re.compile(r"[\x02\u00ad\ufffe]\s*\n\s*")  # how PDFium marks a hyphen that only the line break needed
_UNWANTED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u00ad\ufffe\uffff]")
_SENTENCE_ENDS = (".", "!", "?", ":", ";", "\u3002")
_FULL_LINE_SHARE = 0.7
_FULL_LINE_CHARS_MIN = 40  # shorter ones are titles and lists, whatever the page's longest line is


def flow(printed: str) -> str:
    """Return the text with wrapped lines joined by a space and blank runs squeezed.

    A line goes on in the next one if it is not the end of a sentence and either the next begins with a small letter or
    the line is about as long as the page's longest.
    """
    text = _SOFT_HYPHENS.sub("", printed.replace("\r\n", "\n").replace("\r", "\n"))
    lines = [" ".join(_UNWANTED.sub("", line).split()) for line in text.split("\n")]
    longest = max(map(len, lines))
    pairs = zip(lines, [*lines[1:], ""], strict=True)
    flowed = "".join(line + (" " if _goes_on(line, following, longest) else "\n") for line, following in pairs)
    return re.sub(r"\n{3,}", "\n\n", flowed).strip()


def _goes_on(line: str, following: str, longest: int) -> bool:
    if not line or not following or line.endswith(_SENTENCE_ENDS):
        return False
    return following[0].islower() or len(line) >= max(_FULL_LINE_CHARS_MIN, _FULL_LINE_SHARE * longest)
