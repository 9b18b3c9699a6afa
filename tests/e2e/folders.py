"""Real documents of every kind, made in the test."""

from pathlib import Path

import docx
from reportlab.pdfgen import canvas

FACTS = {
    "tides.md": "# Tides\n\nThe tidal range at the Larkspur mole is fourteen metres. Ships enter at high water only.\n",
    "mill.txt": "The Osterley mill grinds eleven tonnes of barley a day. "
    "Its wheel was built in 1874 by Agnes Thornbury.\n",
    "bridge.html": "<html><head><title>Bridge</title></head><body><h1>The bridge</h1><p>The Quenby bridge carries nine "
    "thousand wagons a year. It was opened by the mayor in the spring of 1902.</p></body></html>",
}
QUESTIONS = {
    "What is the tidal range at the Larkspur mole?": ("tides.md", "fourteen metres"),
    "How much barley does the Osterley mill grind a day?": ("mill.txt", "eleven tonnes"),
    "How many wagons does the Quenby bridge carry a year?": ("bridge.html", "nine thousand"),
    "How deep is the Harrowgate shaft?": ("shaft.pdf", "four hundred fathoms"),
    "Who tends the Pelham lighthouse?": ("lighthouse.docx", "Rosalind Achterberg"),
}
UNANSWERABLE = "What is the boiling point of tungsten?"


def write_documents(folder: Path) -> Path:
    """Write one document of each kind into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in FACTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    page = canvas.Canvas(str(folder / "shaft.pdf"))
    page.drawString(72, 720, "The Harrowgate shaft is four hundred fathoms deep. It was sunk by hand.")
    page.save()
    document = docx.Document()
    document.add_heading("Lights", level=1)
    document.add_paragraph("Rosalind Achterberg tends the Pelham lighthouse. She trims the lamp at dusk.")
    document.save(str(folder / "lighthouse.docx"))
    return folder
