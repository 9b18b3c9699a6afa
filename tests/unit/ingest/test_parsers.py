"""Each format's text, pages and title, and how each bad file is refused."""

import zipfile
from collections.abc import Callable
from io import BytesIO

import pytest
from headrace_ingest.domain.formats import find_format
from headrace_ingest.domain.parsed import ParsedDocument, ParseLimits, ParsingError, Reason
from headrace_ingest.parsers import FORMATS, parse

BODY = "word/document.xml"
ENTITY_BOMB = b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>&b;</w:t></w:r></w:p>
</w:body></w:document>"""
Make = Callable[..., bytes]


def read(name: str, content: bytes, limits: ParseLimits | None = None) -> ParsedDocument:
    """Parse as the child process does."""
    return parse(find_format(FORMATS, name), content, limits or ParseLimits())


def reason(name: str, content: bytes, limits: ParseLimits | None = None) -> Reason:
    """Return why a file is refused."""
    with pytest.raises(ParsingError) as refused:
        read(name, content, limits)
    return refused.value.reason


def test_text_and_markdown_are_stored_unchanged() -> None:
    """So that a quote can be found in the file itself."""
    content = "# Intake\r\n\r\n*Water* \u00a0enters.\n\n"
    assert read("a.txt", content.encode()) == ParsedDocument(content)
    assert read("a.md", content.encode()) == ParsedDocument(content, title="Intake")


def test_a_long_page_gives_its_main_text_without_navigation_and_scripts() -> None:
    """The title comes from the title element."""
    paragraph = (
        "The headrace carries water from the intake to the turbines, and its length decides how fast it answers. "
    )
    page = f"""<html><head><title> The  headrace </title><script>var hidden = 1</script></head>
    <body><nav><a href=/>Home</a></nav><article><h1>Headrace</h1><p>{paragraph * 3}</p><p>{paragraph}</p></article>
    <script>track()</script></body></html>"""
    document = read("a.html", page.encode())
    assert document.title == "The headrace"
    assert document.text.count(paragraph.strip()) == 4
    assert not {"hidden", "track", "Home"} & set(document.text.replace("(", " ").split())


def test_a_short_page_gives_everything_that_is_shown_line_by_line() -> None:
    """Where main text cannot be told from the rest."""
    page = """<p>Gate <b>two</b>.<ul><li>open<li>shut</ul><div style="display: none">ignore me</div><p hidden>and me</p>
    <script>alert(1)</script><style>p{}</style><table><tr><td>flow<td>12</table><!-- remark -->"""
    assert read("a.htm", page.encode()).text == "Gate two.\nopen\nshut\nflow 12"


def test_a_page_is_decoded_as_it_declares() -> None:
    """UTF-8 first, then what its meta element says."""
    page = '<meta http-equiv="Content-Type" content="text/html; charset=koi8-r"><p>Затвор'
    assert read("a.html", page.encode("koi8-r")).text == "Затвор"


def test_a_pdf_gives_its_pages_as_spans(pdf: Make) -> None:
    """Wrapped lines are flowed, pages counted from 1."""
    document = read("a.pdf", pdf("The water enters at\nthe intake.", "", "It leaves at the tailrace.", title="Water"))
    assert document.title == "Water"
    assert [page.number for page in document.pages] == [1, 2, 3]
    texts = [document.text[page.start : page.end] for page in document.pages]
    assert texts == ["The water enters at the intake.", "", "It leaves at the tailrace."]


def test_a_word_document_gives_paragraphs_and_tables_in_order(word: Make) -> None:
    """Cells are separated, rows are lines."""
    document = read("a.docx", word("First.", "", "Second.", table=(("gate", "state"), ("one", "open")), title="Gates"))
    assert document == ParsedDocument("First.\n\nSecond.\n\ngate | state\none | open", title="Gates")


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html", "a.pdf", "a.docx"])
def test_an_empty_file_is_refused_as_empty(name: str) -> None:
    """Whatever its kind."""
    assert reason(name, b"") is Reason.EMPTY


def test_a_file_without_text_is_refused_as_empty(pdf: Make, word: Make) -> None:
    """Spaces are not text, and neither is a scanned page."""
    assert reason("a.txt", b" \n\t ") is Reason.EMPTY
    assert reason("a.html", b"<script>1</script>") is Reason.EMPTY
    assert reason("a.html", b"<!-- only a remark -->") is Reason.EMPTY
    assert reason("a.pdf", pdf("")) is Reason.EMPTY
    assert reason("a.docx", word("")) is Reason.EMPTY


def test_a_broken_pdf_is_unreadable(pdf: Make) -> None:
    """Cut short, or not a PDF at all."""
    assert reason("a.pdf", pdf("text")[:200]) is Reason.UNREADABLE
    assert reason("a.pdf", b"plain text") is Reason.UNREADABLE


def test_a_pdf_behind_a_password_is_encrypted(pdf: Make) -> None:
    """And is not tried any further."""
    locked = pdf("secret", password="let-me-in")  # noqa: S106 - of a test file
    assert reason("a.pdf", locked) is Reason.ENCRYPTED


def test_a_pdf_with_too_many_pages_is_refused_before_any_is_read(pdf: Make) -> None:
    """The limit is part of the message."""
    assert reason("a.pdf", pdf(*["page"] * 4), ParseLimits(pages_max=3)) is Reason.TOO_MANY_PAGES


def test_a_pdf_whose_text_grows_too_long_is_refused_on_the_way(pdf: Make) -> None:
    """Not after all pages are in memory."""
    assert reason("a.pdf", pdf(*["many words here"] * 9), ParseLimits(text_chars_max=40)) is Reason.TOO_LARGE


def test_a_zip_that_is_no_word_document_is_unreadable() -> None:
    """Whatever it is called."""
    written = BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert reason("a.docx", written.getvalue()) is Reason.UNREADABLE
    assert reason("a.docx", b"PK\x03\x04 not really") is Reason.UNREADABLE


def test_a_word_document_with_broken_xml_is_unreadable(word: Make, rewritten: Make) -> None:
    """As is one whose parts do not fit together."""
    assert reason("a.docx", rewritten(word("text"), {BODY: b"<w:document"})) is Reason.UNREADABLE
    assert reason("a.docx", rewritten(word("text"), {"_rels/.rels": b"<Relationships/>"})) is Reason.UNREADABLE


def test_a_password_protected_office_file_is_encrypted() -> None:
    """Office wraps it in the container that Word used before 2007."""
    assert reason("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 512) is Reason.ENCRYPTED


def test_an_entity_bomb_is_refused_unexpanded(word: Make, rewritten: Make) -> None:
    """Also in UTF-16, where the letters of its declaration do not lie side by side."""
    assert reason("a.docx", rewritten(word("text"), {BODY: ENTITY_BOMB})) is Reason.UNREADABLE
    wide = ENTITY_BOMB.decode().replace('"1.0"', '"1.0" encoding="utf-16"').encode("utf-16")
    assert reason("a.docx", rewritten(word("text"), {BODY: wide})) is Reason.UNREADABLE


def test_a_zip_bomb_is_refused_by_its_directory(word: Make, rewritten: Make) -> None:
    """By its ratio, or by what all its parts come to."""
    bomb = rewritten(word("text"), {"word/media/image.bin": b"\x00" * (4 * 1024 * 1024)})
    assert reason("a.docx", bomb) is Reason.TOO_LARGE
    assert reason("a.docx", word("text"), ParseLimits(unpacked_bytes_max=1_000)) is Reason.TOO_LARGE


def test_the_media_type_counts_more_than_the_ending_and_unknown_is_refused() -> None:
    """A media type that says nothing leaves it to the ending."""
    assert find_format(FORMATS, "page", "text/html; charset=utf-8").name == "html"
    assert find_format(FORMATS, "a.pdf", "text/plain").name == "text"
    assert find_format(FORMATS, "A.PDF", "application/octet-stream").name == "pdf"
    with pytest.raises(ParsingError) as refused:
        find_format(FORMATS, "a.exe")
    assert refused.value.reason is Reason.UNSUPPORTED_TYPE
