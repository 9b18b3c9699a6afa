"""The evaluation data as the tool uses it: articles of paragraphs, each a document, and questions with gold answers."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Asked:
    """A question, its gold answers, the document that answers it, and the number of that document's article."""

    text: str
    golds: tuple[str, ...]
    document: str
    article: int


@dataclass(frozen=True)
class Xquad:
    """The English half of XQuAD: `documents` maps a name to its text, `article_of` a name to its article."""

    documents: dict[str, str]
    article_of: dict[str, int]
    questions: tuple[Asked, ...]

    @property
    def articles(self) -> range:
        """The articles' numbers."""
        return range(max(self.article_of.values()) + 1)

    def write(self, folder: Path) -> None:
        """Write every paragraph as a file into a folder of its article."""
        for name, text in self.documents.items():
            place = folder / group(self.article_of[name]) / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(text.encode())


def group(article: int) -> str:
    """Name the group of principals that may read an article."""
    return f"article-{article:02}"


def data_folder() -> Path:
    """Return where the evaluation data lies; SystemExit says where it was looked for."""
    places = [Path(os.environ.get("HEADRACE_EVAL_DATA", "../shared/data")), Path("../../shared/data")]
    for place in places:
        if (place / "xquad").is_dir():
            return place
    raise SystemExit(f"no evaluation data in {places[0]}: set HEADRACE_EVAL_DATA")


def read_xquad(file: Path, articles_max: int) -> Xquad:
    """Read a SQuAD-format file, the first `articles_max` articles of it."""
    documents: dict[str, str] = {}
    article_of: dict[str, int] = {}
    questions: list[Asked] = []
    for article, content in enumerate(json.loads(file.read_text(encoding="utf-8"))["data"][:articles_max]):
        for number, paragraph in enumerate(content["paragraphs"]):
            name = f"{article:02}-{number}.txt"
            documents[name], article_of[name] = paragraph["context"], article
            for one in paragraph["qas"]:
                golds = tuple(answer["text"] for answer in one["answers"])
                questions.append(Asked(" ".join(one["question"].split()), golds, name, article))
    return Xquad(documents, article_of, tuple(questions))
