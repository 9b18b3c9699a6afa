"""Documents made on the spot: no test file is older than its test."""

import io
import zipfile
from collections.abc import Callable, Mapping

import docx
import pytest
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen import canvas


def _pdf(*pages: str, title: str = "", password: str = "") -> bytes:
    """Return a PDF with one line of text for each line of each page."""
    written = io.BytesIO()
    encryption = StandardEncryption(password, canPrint=0) if password else None
    sheet = canvas.Canvas(written, encrypt=encryption)
    sheet.setTitle(title)
    for page in pages:
        lines = sheet.beginText(72, 720)
        lines.textLines(page)
        sheet.drawText(lines)
        sheet.showPage()
    sheet.save()
    return written.getvalue()


def _docx(*paragraphs: str, table: tuple[tuple[str, ...], ...] = (), title: str = "") -> bytes:
    document = docx.Document()
    document.core_properties.title = title
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    if table:
        grid = document.add_table(len(table), len(table[0]))
        for row, cells in zip(grid.rows, table, strict=True):
            for cell, text in zip(row.cells, cells, strict=True):
                cell.text = text
    written = io.BytesIO()
    document.save(written)
    return written.getvalue()


def _rewritten(archive: bytes, parts: Mapping[str, bytes]) -> bytes:
    """Return a zip archive with some parts replaced or added."""
    written = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(archive)) as source,
        zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            if name not in parts:
                target.writestr(name, source.read(name))
        for name, content in parts.items():
            target.writestr(name, content)
    return written.getvalue()


@pytest.fixture
def pdf() -> Callable[..., bytes]:
    """Make a PDF."""
    return _pdf


@pytest.fixture
def word() -> Callable[..., bytes]:
    """Make a Word document."""
    return _docx


@pytest.fixture
def rewritten() -> Callable[..., bytes]:
    """Replace parts of a zip archive."""
    return _rewritten
