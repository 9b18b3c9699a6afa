"""Word documents: paragraphs and tables in reading order. Headers, footers, comments and text boxes are left out.

The archive is judged by its directory before anything is unpacked. A lie there does not help a bomb: zipfile never
yields more than the declared size. python-docx resolves no entities; a part with a document type is refused all the
same, Word writes none.
"""

import io
import zipfile
import zlib
from collections.abc import Iterator

import docx
from docx.document import Document
from docx.table import Table

from headrace_ingest.domain.parsed import ParsedDocument, ParseLimits, ParsingError, Reason

_BODY = "word/document.xml"
_OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # Office wraps a password-protected document in this container
_ENCRYPTED_FLAG = 0x1
_RATIO_MAX = 200
_RATIO_COUNTS_FROM_BYTES = 1024 * 1024
_PARTS_MAX = 10_000
_PROLOGUE_BYTES = 4_096


def parse(content: bytes, limits: ParseLimits) -> ParsedDocument:
    """Return the document's text and title.

    Raises ParsingError: ENCRYPTED, UNREADABLE (not a Word document, or a broken one) or TOO_LARGE (once unpacked).
    """
    if content.startswith(_OLE_MAGIC):
        raise ParsingError(Reason.ENCRYPTED, "protected by a password, or a Word file from before 2007")
    _check_archive(content, limits)
    try:
        document = docx.Document(io.BytesIO(content))
        text = "\n\n".join(_blocks(document))
        title = document.core_properties.title or ""
    except MemoryError:
        raise
    except Exception as error:  # python-docx promises no exceptions: on odd XML it meets any
        raise ParsingError(Reason.UNREADABLE, "not a readable Word document") from error
    return ParsedDocument(text, title=title.strip())


def _blocks(document: Document) -> Iterator[str]:
    for block in document.iter_inner_content():
        text = _table_text(block) if isinstance(block, Table) else block.text
        if text.strip():
            yield text.strip()


def _table_text(table: Table) -> str:
    """Return a line for each row. A merged cell is listed by python-docx once for every column that it spans."""
    rows = []
    for row in table.rows:
        cells = [cell for index, cell in enumerate(row.cells) if index == 0 or cell._tc is not row.cells[index - 1]._tc]  # noqa: SLF001
        rows.append(" | ".join(" ".join(cell.text.split()) for cell in cells))
    return "\n".join(rows)


def _check_archive(content: bytes, limits: ParseLimits) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_parts(archive.infolist(), limits)
            _check_prologues(archive)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, zlib.error) as error:
        raise ParsingError(Reason.UNREADABLE, "not a readable zip archive") from error


def _check_parts(parts: list[zipfile.ZipInfo], limits: ParseLimits) -> None:
    if _BODY not in {part.filename for part in parts}:
        raise ParsingError(Reason.UNREADABLE, "a zip archive, but not a Word document")
    if any(part.flag_bits & _ENCRYPTED_FLAG for part in parts):
        raise ParsingError(Reason.ENCRYPTED, "a part of the archive is encrypted")
    if len(parts) > _PARTS_MAX or sum(part.file_size for part in parts) > limits.unpacked_bytes_max:
        raise ParsingError(
            Reason.TOO_LARGE, f"unpacks to more than {limits.unpacked_bytes_max} bytes or {_PARTS_MAX} parts"
        )
    if any(_ratio_is_suspect(part) for part in parts):
        raise ParsingError(Reason.TOO_LARGE, f"a part unpacks to more than {_RATIO_MAX} times its size")


def _ratio_is_suspect(part: zipfile.ZipInfo) -> bool:
    return part.file_size > _RATIO_COUNTS_FROM_BYTES and part.file_size > _RATIO_MAX * max(part.compress_size, 1)


def _check_prologues(archive: zipfile.ZipFile) -> None:
    for part in archive.infolist():
        if part.filename.endswith((".xml", ".rels")):
            with archive.open(part) as opened:
                prologue = opened.read(_PROLOGUE_BYTES).replace(b"\x00", b"")  # so that UTF-16 hides nothing
            if b"<!DOCTYPE" in prologue or b"<!ENTITY" in prologue:
                raise ParsingError(Reason.UNREADABLE, "a part declares a document type, which Word never does")
