"""Files that the documentation and comments name are there: who moves one is told who spoke of it."""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("deploy", "docs", "libs", "proto", "services", "tests")
FILES = [path for folder in FOLDERS for path in ROOT.joinpath(folder).rglob("*") if "__pycache__" not in path.parts]
PLACES = ["/" + path.relative_to(ROOT).as_posix() for path in (*(ROOT / folder for folder in FOLDERS), *FILES)]
DOCUMENTS = [*ROOT.glob("*.md"), *(path for path in FILES if path.suffix == ".md")]
SOURCES = [path for path in FILES if path.suffix in (".py", ".proto", ".yaml", ".yml", ".toml", ".sh")]

PLACEHOLDER = re.compile(r"<[\w-]+>|\.\.\.")  # services/<name>/, libs/runtime/.../lifecycle.py
QUOTED = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)[^)]*\)")
NAME = re.compile(rf"(?<![\w./<>~:*-])(?:(?:{'|'.join(FOLDERS)})/[\w./<>*-]*|[\w./<>*-]+\.py(?![\w/]))")
PATH_IN_SOURCE = re.compile(rf"(?<![\w./<>~:*-])(?:{'|'.join(FOLDERS)})/[\w./-]*\w\.(?:py|md|ya?ml|sh|proto)\b")


def is_there(name: str) -> bool:
    """Say whether a path is in the repository: from its root, or the end of a path; placeholders stand for anything."""
    pattern = "*/" + PLACEHOLDER.sub("*", name.rstrip("/."))
    return any(fnmatchcase(place, pattern) for place in PLACES)


def names(path: Path) -> Iterator[str]:
    """Yield the files that a text names."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".md":
        yield from PATH_IN_SOURCE.findall(text)
        return
    for quoted in QUOTED.findall(text):
        yield from NAME.findall(quoted)


@pytest.mark.parametrize("path", sorted(DOCUMENTS), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_that_a_document_names_is_there(path: Path):
    """In `backticks`, and behind links."""
    assert [name for name in names(path) if not is_there(name)] == []
    links = LINK.findall(path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_a_file_that_a_source_names_is_there():
    """In docstrings and comments, by its path."""
    assert [(str(path.relative_to(ROOT)), name) for path in SOURCES for name in names(path) if not is_there(name)] == []


@pytest.mark.parametrize("name", ["runtime/.../lifecyle.py", "keys_in_retreat.py", "runbooks/silents.md"])
def test_a_file_that_is_not_there_is_missed(name: str):
    """The check is no rubber stamp."""
    assert not is_there(name)
