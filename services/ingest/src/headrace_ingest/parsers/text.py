"""Plain text: the decoded file, unchanged."""

from headrace_ingest.domain.parsed import ParsedDocument, ParseLimits
from headrace_ingest.parsers.decoding import decode


def parse(content: bytes, limits: ParseLimits) -> ParsedDocument:
    """Return the decoded file. Raises ParsingError(NOT_TEXT)."""
    del limits  # the size of the file bounds its text
    return ParsedDocument(decode(content))
