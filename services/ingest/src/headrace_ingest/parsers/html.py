"""HTML: the main text as trafilatura finds it, or everything visible where a page is too short for that.

Scripts and styles never count as text. Nothing is fetched: neither links nor images nor frames.
"""

import re

import trafilatura
from lxml import etree, html  # type: ignore[import-untyped] # it ships no types

from headrace_ingest.domain.parsed import ParsedDocument, ParseLimits, ParsingError, Reason
from headrace_ingest.parsers.decoding import decode

_CHARSET = re.compile(rb"<meta[^>]{0,200}charset=[\"']?([\w-]{1,40})", re.IGNORECASE)
_CHARSET_WITHIN_BYTES = 2_048
_MAIN_TEXT_CHARS_MIN = 200
_HIDDEN = "//*[@hidden] | //*[contains(translate(@style, ' ', ''), 'display:none')]"
_UNSEEN = f"//script | //style | //noscript | //template | //head | {_HIDDEN}"
_BLOCKS = (
    *(
        "address",
        "article",
        "aside",
        "blockquote",
        "br",
        "caption",
        "dd",
        "div",
        "dl",
        "dt",
        "figcaption",
        "footer",
        "form",
    ),
    *(
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "li",
        "main",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
        "table",
        "tr",
        "ul",
    ),
)


def parse(content: bytes, limits: ParseLimits) -> ParsedDocument:
    """Return the page's text and title. Raises ParsingError: NOT_TEXT, or EMPTY when there is no element in it."""
    del limits  # the size of the file bounds its text
    declared = _CHARSET.search(content[:_CHARSET_WITHIN_BYTES])
    text = decode(content, declared[1].decode("ascii") if declared else "")
    try:
        page = html.document_fromstring(
            text.encode(), parser=html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
        )
    except etree.ParserError as error:
        raise ParsingError(Reason.EMPTY, "no element in it") from error
    title = " ".join((page.findtext(".//title") or "").split())
    main = trafilatura.extract(page, include_comments=False, include_tables=True, deduplicate=False) or ""
    return ParsedDocument(main if len(main) >= _MAIN_TEXT_CHARS_MIN else _visible_text(page), title=title)


def _visible_text(page: html.HtmlElement) -> str:
    """Return the text of every element that is shown, a line for each block. Changes the tree."""
    for unseen in page.xpath(_UNSEEN):
        if unseen.getparent() is not None:
            unseen.drop_tree()
    for block in page.iter(*_BLOCKS):
        block.text = f"\n{block.text or ''}"
        block.tail = f"\n{block.tail or ''}"
    for cell in page.iter("td", "th"):
        cell.tail = f" {cell.tail or ''}"
    lines = (" ".join(line.split()) for line in page.text_content().split("\n"))
    return "\n".join(line for line in lines if line)
