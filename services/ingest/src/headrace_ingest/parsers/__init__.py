"""The list of parsers: each is one module with `parse(content, limits)` and one line here. See docs/adding-a-parser.md.

The modules are imported only where a document is parsed, in the sandbox's child process: they are heavy and read
hostile bytes.
"""

from importlib import import_module

from headrace_ingest.domain.formats import Format
from headrace_ingest.domain.parsed import ParsedDocument, ParseLimits, ParsingError, Reason

FORMATS = (
    Format("text", "headrace_ingest.parsers.text", (".txt", ".text"), ("text/plain",)),
    Format("markdown", "headrace_ingest.parsers.markdown", (".md", ".markdown"), ("text/markdown", "text/x-markdown")),
    Format("html", "headrace_ingest.parsers.html", (".html", ".htm", ".xhtml"), ("text/html", "application/xhtml+xml")),
    Format("pdf", "headrace_ingest.parsers.pdf", (".pdf",), ("application/pdf",)),
    Format(
        "docx",
        "headrace_ingest.parsers.docx",
        (".docx",),
        ("application/vnd.openxmlformats-officedocument.wordprocessingml.document",),
    ),
)


def parse(found: Format, content: bytes, limits: ParseLimits) -> ParsedDocument:
    """Parse a document with the format's parser, and hold its result to what every consumer relies on.

    Blocking; run it in the sandbox. Raises ParsingError; anything else a parser raises is a fault of that parser.
    """
    if not content:
        raise ParsingError(Reason.EMPTY, "the file is empty")
    document: ParsedDocument = import_module(found.module).parse(content, limits)
    if not document.text.strip():
        raise ParsingError(Reason.EMPTY, "no text in it")
    if len(document.text) > limits.text_chars_max:
        raise ParsingError(Reason.TOO_LARGE, f"its text is longer than {limits.text_chars_max} characters")
    return document
