"""Moves files over a way that takes so many bytes at a time, such as GPU wheels to a machine without registries.

    python deploy/gpu/parts.py cut build/gpu/wheels build/gpu/parts --part-bytes 60000000
    python parts.py join parts wheels          # over there; again, as often as it takes, for parts that came later

Parts may come in any order and on several journeys; a file is joined once all of its parts are there, and kept only if
its sha256 is the one it had. Python's standard library alone, so that it runs where nothing is installed yet.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

LIST = "files.json"
PART_BYTES = 60_000_000
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Cut:
    """What a file was, and the parts that make it, in order."""

    sha256: str
    parts: Sequence[str]


def cut(source: Path, parts: Path, *, part_bytes: int = PART_BYTES) -> None:
    """Write every file of a folder as parts of at most `part_bytes`, and a list of them with their hashes."""
    parts.mkdir(parents=True, exist_ok=True)
    whole = sorted(path for path in source.iterdir() if path.is_file())
    files = {path.name: asdict(Cut(_sha256(path), list(_write_parts(path, parts, part_bytes)))) for path in whole}
    (parts / LIST).write_text(json.dumps(files, indent=1) + "\n", "utf-8")


def join(parts: Path, target: Path) -> Mapping[str, str]:
    """Join what is whole and not there yet; return by file what is still missing, or was damaged."""
    target.mkdir(parents=True, exist_ok=True)
    files = {name: Cut(**one) for name, one in json.loads((parts / LIST).read_text("utf-8")).items()}
    return {name: problem for name, file in files.items() if (problem := _joined(target / name, file, parts))}


def _write_parts(path: Path, parts: Path, part_bytes: int) -> Iterator[str]:
    with path.open("rb") as stream:
        for number, data in enumerate(iter(partial(stream.read, part_bytes), b"")):
            part = parts / f"{path.name}.{number:03}"
            part.write_bytes(data)
            yield part.name


def _joined(path: Path, file: Cut, parts: Path) -> str:
    """Make a file of its parts; return why it cannot be made, if so."""
    if path.exists() and _sha256(path) == file.sha256:
        return ""
    missing = [part for part in file.parts if not (parts / part).exists()]
    if missing:
        return f"{len(missing)} of {len(file.parts)} parts are not here: {missing[0]}"
    whole = path.with_name(f"{path.name}.joining")
    with whole.open("wb") as out:
        for part in file.parts:
            out.writelines(_chunks(parts / part))
    if _sha256(whole) != file.sha256:
        whole.unlink()
        return "its parts make another file: one was damaged on the way"
    whole.replace(path)
    return ""


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    for chunk in _chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk


def main() -> int:
    """Cut or join; exit code 1 while something is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("cut", "join"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--part-bytes", type=int, default=PART_BYTES)
    given = parser.parse_args()
    if given.step == "cut":
        cut(given.source, given.target, part_bytes=given.part_bytes)
        return 0
    missing = join(given.source, given.target)
    sys.stdout.writelines(f"{name}: {problem}\n" for name, problem in missing.items())
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
