"""Walks over a record that lies in a SQLite file, without the service and without writing.

A walker is told what the record says of itself, then gets its links, each chain's in order. This needs the standard
library's sqlite3 only, so that an auditor can run it on a copy. An export is walked by `export_walk`, a record on
PostgreSQL by `adapters.walk_tables`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Protocol, TypeVar

from headrace_audit.domain import Head, Link
from headrace_audit.verification import Contents

_COLUMNS = "chain, sequence, record_id, tenant, request_id, previous_fingerprint, fingerprint, record_json"
_LINKS = f"SELECT {_COLUMNS} FROM links ORDER BY chain, sequence"  # noqa: S608 - a constant
_HEADS = "SELECT chain, sequence, fingerprint, note FROM heads ORDER BY chain"
_CHECKPOINTS = "SELECT note FROM checkpoints ORDER BY chain, sequence"
_SUCCESSIONS = "SELECT succession FROM signers WHERE succession <> '' ORDER BY number"


class Walker(Protocol):
    """Takes the links of a record."""

    def add(self, links: Iterable[Link]) -> None:
        """Take more links."""
        ...


W = TypeVar("W", bound=Walker)
Start = Callable[[Contents], W]
"""Makes a walker of what the record says of itself."""


def walk_database(path: Path, start: Start[W]) -> W:
    """Walk the audit service's SQLite file in one snapshot, while it runs or not."""
    with closing(_open(path)) as database:
        database.execute("BEGIN")  # heads and links of the same moment
        heads = database.execute(_HEADS).fetchall()
        notes = [note for *_, note in heads] + [note for (note,) in database.execute(_CHECKPOINTS)]
        contents = Contents(
            heads=tuple(Head(chain, sequence, fingerprint) for chain, sequence, fingerprint, _ in heads),
            checkpoints=tuple(dict.fromkeys(str(note) for note in notes if note)),
            successions=tuple(str(note) for (note,) in database.execute(_SUCCESSIONS)),
        )
        walker = start(contents)
        walker.add(_links(database))
        return walker


def read_links(path: Path) -> Iterator[Link]:
    """Read every link of the SQLite file, in order of chain and sequence."""
    with closing(_open(path)) as database:
        yield from _links(database)


def _open(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise FileNotFoundError(f"no audit database at {path}")
    # Not `immutable`: the service may be running, and its write-ahead log holds the newest links.
    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    # What a flipped byte left: its link is to be named, not the whole file given up.
    database.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    return database


def _links(database: sqlite3.Connection) -> Iterator[Link]:
    for name, sequence, *texts in database.execute(_LINKS):
        record_id, tenant, request_id, previous, fingerprint, record_json = map(str, texts)
        yield Link(
            chain=str(name),
            sequence=sequence if isinstance(sequence, int) else 0,
            record_id=record_id,
            tenant=tenant,
            request_id=request_id,
            previous_fingerprint=previous,
            fingerprint=fingerprint,
            record_json=record_json,
        )
