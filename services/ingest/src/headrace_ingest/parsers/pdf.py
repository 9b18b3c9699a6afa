"""PDF through PDFium: each page's text in reading order as PDFium finds it, with lines flowed into paragraphs.

No optical recognition: a scanned document has no text and fails as empty. Nothing outside the page's box is read.
"""

import pypdfium2
import pypdfium2.raw

from headrace_ingest.domain.parsed import Page, ParsedDocument, ParseLimits, ParsingError, Reason
from headrace_ingest.parsers.lines import flow

_BETWEEN_PAGES = "\n\n"


def parse(content: bytes, limits: ParseLimits) -> ParsedDocument:
    """Return the text with its pages and the title of the file's metadata.

    Raises ParsingError: ENCRYPTED (an empty password does not open it), UNREADABLE, TOO_MANY_PAGES (before any is
    read) or TOO_LARGE (as soon as the text is).
    """
    try:
        with pypdfium2.PdfDocument(content) as pdf:
            if len(pdf) > limits.pages_max:
                raise ParsingError(Reason.TOO_MANY_PAGES, f"{len(pdf)} pages; at most {limits.pages_max} are read")
            text, pages = _joined(pdf, limits)
            title = pdf.get_metadata_value("Title")
    except pypdfium2.PdfiumError as error:
        if error.err_code in {pypdfium2.raw.FPDF_ERR_PASSWORD, pypdfium2.raw.FPDF_ERR_SECURITY}:
            raise ParsingError(Reason.ENCRYPTED, "protected by a password") from error
        raise ParsingError(Reason.UNREADABLE, "not a readable PDF") from error
    return ParsedDocument(text, pages, " ".join(title.split()))


def _joined(pdf: pypdfium2.PdfDocument, limits: ParseLimits) -> tuple[str, tuple[Page, ...]]:
    texts: list[str] = []
    pages: list[Page] = []
    length = 0
    for number in range(1, len(pdf) + 1):
        text = _page_text(pdf, number - 1)
        pages.append(Page(number, length, length + len(text)))
        texts.append(text)
        length += len(text) + len(_BETWEEN_PAGES)
        if length > limits.text_chars_max:
            raise ParsingError(Reason.TOO_LARGE, f"its text is longer than {limits.text_chars_max} characters")
    return _BETWEEN_PAGES.join(texts), tuple(pages)


def _page_text(pdf: pypdfium2.PdfDocument, index: int) -> str:
    page = pdf[index]
    try:
        text_page = page.get_textpage()
        try:
            return flow(text_page.get_text_bounded())
        finally:
            text_page.close()
    finally:
        page.close()
