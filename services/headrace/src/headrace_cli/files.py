"""Which files an `ingest` takes, and what it skips and why. What is in them is the service's matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from headrace_ingest.parsers import FORMATS

FILE_BYTES_MAX = 50 * 1024 * 1024
FILES_MAX = 100_000
_KNOWN_ENDINGS = {ending for known in FORMATS for ending in known.extensions}


@dataclass(frozen=True)
class Found:
    """A file and the document that it becomes: its path relative to the given root, with slashes."""

    path: Path
    document: str


@dataclass(frozen=True)
class Search:
    """What was found under the given paths."""

    files: list[Found] = field(default_factory=list)
    skipped: list[tuple[Path, str]] = field(default_factory=list)


def find_files(paths: Sequence[Path]) -> Search:
    """List the files under `paths`: of folders those of known types and not hidden, of files all that are named.

    ValueError where two files would become the same document, or where there are more than `FILES_MAX`.
    """
    search = Search()
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"no such file or folder: {path}")
        if path.is_file():
            search.files.append(Found(path, path.name))
        else:
            _walk(path, search)
    if len(search.files) > FILES_MAX:
        raise ValueError(f"{len(search.files)} files; at most {FILES_MAX} a run are allowed")
    _refuse_twins(search.files)
    return search


def _walk(root: Path, search: Search) -> None:
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if path.is_dir() or any(part.startswith(".") for part in relative.parts):
            continue
        if not path.is_file():
            search.skipped.append((path, "not a regular file"))
        elif path.suffix.lower() not in _KNOWN_ENDINGS:
            search.skipped.append((path, "unsupported type"))
        else:
            search.files.append(Found(path, relative.as_posix()))


def _refuse_twins(files: list[Found]) -> None:
    seen: dict[str, Path] = {}
    for file in files:
        if file.document in seen:
            twins = f"{seen[file.document]} and {file.path}"
            raise ValueError(f"{twins} would both become {file.document}: ingest their common parent, or one at a time")
        seen[file.document] = file.path
