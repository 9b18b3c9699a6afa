"""Walks over a record that lies in a file, without the service and without writing: a database, or an export.

A walker is told what the record says of itself, then gets its links, each chain's in order. This needs the standard
library's sqlite3 only, so that an auditor can run it on a copy. A record on PostgreSQL is walked by
`adapters.walk_tables`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from headrace_audit.checkpoints import Manifest, trusted
from headrace_audit.domain import Head, Link, metadata_of
from headrace_audit.notes import NoteRefused, VerifierKey, open_note
from headrace_audit.verification import Contents

FORMAT = "headrace-audit-export/1"

_COLUMNS = "chain, sequence, record_id, tenant, request_id, previous_fingerprint, fingerprint, record_json"
_LINKS = f"SELECT {_COLUMNS} FROM links ORDER BY chain, sequence"  # noqa: S608 - a constant
_HEADS = "SELECT chain, sequence, fingerprint, note FROM heads ORDER BY chain"
_CHECKPOINTS = "SELECT note FROM checkpoints ORDER BY chain, sequence"
_SUCCESSIONS = "SELECT succession FROM signers WHERE succession <> '' ORDER BY number"

_UNREADABLE = Link(
    chain="",
    sequence=0,
    record_id="",
    tenant="",
    request_id="",
    previous_fingerprint="",
    fingerprint="",
    record_json="",
)


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
            checkpoints=tuple(dict.fromkeys(note for note in notes if note)),
            successions=tuple(note for (note,) in database.execute(_SUCCESSIONS)),
        )
        walker = start(contents)
        walker.add(_links(database))
        return walker


def read_links(path: Path) -> Iterator[Link]:
    """Read every link of the SQLite file, in order of chain and sequence."""
    with closing(_open(path)) as database:
        yield from _links(database)


def walk_export(path: Path, start: Start[W], keys: Sequence[VerifierKey]) -> W:
    """Walk an export. NoteRefused where it does not begin with a manifest that one of the keys, or an heir, signed."""
    # A flipped byte may not be UTF-8 any more: its link is to be named, not the whole file given up.
    with path.open(encoding="utf-8", errors="surrogateescape") as lines:
        contents = _header(lines.readline(), keys)
        walker = start(contents)
        walker.add(_exported(lines, contents.heads))
        return walker


def _header(line: str, keys: Sequence[VerifierKey]) -> Contents:
    try:
        header = json.loads(line)
        if header["format"] != FORMAT:
            raise NoteRefused(f"the export is not a {FORMAT}")
        manifest, checkpoints, successions = header["manifest"], header["checkpoints"], header["successions"]
    except (ValueError, KeyError, TypeError):
        raise NoteRefused("the export does not begin with a manifest") from None
    try:
        text, _ = open_note(manifest, trusted(keys, successions))
    except NoteRefused:
        raise NoteRefused(
            "the manifest is not signed by the key that was given, nor by one that it handed over to"
        ) from None
    heads = Manifest.of_text(text).heads
    return Contents(heads, tuple(checkpoints), tuple(successions), vouched=True)


def _exported(lines: Iterable[str], heads: Sequence[Head]) -> Iterator[Link]:
    """Read links; one that cannot be read stands where the next was to come."""
    rest = {head.chain: head.sequence for head in heads}
    for line in lines:
        due = next((chain for chain, left in rest.items() if left > 0), "")
        try:
            link = _link(json.loads(line))
        except (ValueError, KeyError, TypeError):
            link = replace(_UNREADABLE, chain=due)
        rest[link.chain] = rest.get(link.chain, 0) - 1
        yield link


def _link(copy: dict[str, Any]) -> Link:
    metadata = metadata_of(copy["record_json"]) or {}  # the verdict on the record is the verifier's
    return Link(
        chain=str(copy["chain"]),
        sequence=int(copy["sequence"]),
        record_id=str(copy["record_id"]),
        tenant=metadata.get("tenant_uid", ""),
        request_id=metadata.get("correlation_uid", ""),
        previous_fingerprint=str(copy["previous_fingerprint"]),
        fingerprint=str(copy["fingerprint"]),
        record_json=str(copy["record_json"]),
    )


def _open(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise FileNotFoundError(f"no audit database at {path}")
    # Not `immutable`: the service may be running, and its write-ahead log holds the newest links.
    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    # As in an export: what a flipped byte left.
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
