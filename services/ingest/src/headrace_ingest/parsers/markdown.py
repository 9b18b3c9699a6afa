"""Markdown: the decoded file, unchanged, so that a quote can be found in the file; only the title is looked up."""

import re

from headrace_ingest.domain.parsed import ParsedDocument, ParseLimits
from headrace_ingest.parsers.decoding import decode

_HEADING = re.compile(r"^# +(.+?)[ #]*$", re.MULTILINE)
_TITLE_CHARS_MAX = 300


def parse(content: bytes, limits: ParseLimits) -> ParsedDocument:
    """Return the decoded file and its first heading of the first level. Raises ParsingError(NOT_TEXT)."""
    del limits
    text = decode(content)
    heading = _HEADING.search(text)
    return ParsedDocument(text, title=heading[1].strip()[:_TITLE_CHARS_MAX] if heading else "")
