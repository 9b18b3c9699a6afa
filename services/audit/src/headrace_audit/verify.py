"""The offline verifier: reads the record where it lies, without the service, and writes nothing.

`headrace audit verify` calls it. It needs the standard library's sqlite3 only, so that an auditor can run it on a copy
of the file. The judgement is `verification`'s.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import Any

from headrace_audit.domain import Head, Link, metadata_of
from headrace_audit.verification import ChainReport, VerifyReport, verify

__all__ = ["ChainReport", "VerifyReport", "export_database", "read_links", "verify_database", "verify_export"]

_COLUMNS = "chain, sequence, record_id, tenant, request_id, previous_fingerprint, fingerprint, record_json"
_LINKS = f"SELECT {_COLUMNS} FROM links ORDER BY chain, sequence"  # noqa: S608 - a constant
_HEADS = "SELECT chain, sequence, fingerprint FROM heads ORDER BY chain"


def verify_database(path: Path) -> VerifyReport:
    """Verify the SQLite file of the audit service, while it runs or not; an unreadable file is reported, not raised."""
    try:
        with closing(_open(path)) as database:
            database.execute("BEGIN")  # one snapshot: heads and links of the same moment
            heads = {row[0]: Head(*row) for row in database.execute(_HEADS)}
            return verify(_links(database), heads)
    except (sqlite3.Error, OSError, TypeError) as error:
        return VerifyReport((), flaw=f"the record cannot be read: {error}")


def verify_export(path: Path) -> VerifyReport:
    """Verify a JSON Lines file: copies of links as on the topic, one a line, heads (if any) before them."""
    heads: dict[str, Head] = {}
    try:
        # Heads stand first and are known before the first link is asked for.
        links = _lines(path, heads)
        first = list(islice(links, 1))
        return verify(chain(first, links), heads or None)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return VerifyReport((), flaw=f"the export cannot be read: {error}")


def export_database(path: Path, target: Path) -> int:
    """Write the record as JSON Lines, heads first; return how many links were written."""
    count = 0
    with closing(_open(path)) as database, target.open("w", encoding="utf-8") as out:
        database.execute("BEGIN")
        for name, sequence, fingerprint in database.execute(_HEADS):
            out.write(json.dumps({"head": {"chain": name, "sequence": sequence, "fingerprint": fingerprint}}) + "\n")
        for link in _links(database):
            out.write(json.dumps(_copy(link)) + "\n")
            count += 1
    return count


def read_links(path: Path) -> Iterator[Link]:
    """Read every link of the SQLite file, in order of chain and sequence."""
    with closing(_open(path)) as database:
        yield from _links(database)


def _open(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise FileNotFoundError(path)
    # Not `immutable`: the service may be running, and its write-ahead log holds the newest links.
    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    # A flipped byte may not be UTF-8 any more: its link is to be named, not the whole file given up.
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


def _copy(link: Link) -> dict[str, Any]:
    return {
        "chain": link.chain,
        "sequence": link.sequence,
        "record_id": link.record_id,
        "previous_fingerprint": link.previous_fingerprint,
        "fingerprint": link.fingerprint,
        "record_json": link.record_json,
    }


def _lines(path: Path, heads: dict[str, Head]) -> Iterator[Link]:
    seen: set[str] = set()
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            # The topic delivers at least once: the very same copy again says nothing new.
            if not line.strip() or line in seen:
                continue
            parsed = json.loads(line)
            if "head" in parsed:
                head = parsed["head"]
                heads[head["chain"]] = Head(head["chain"], int(head["sequence"]), head["fingerprint"])
                continue
            seen.add(line)
            yield _link(parsed)


def _link(copy: dict[str, Any]) -> Link:
    metadata = metadata_of(copy["record_json"]) or {}  # the verdict on the record is the verifier's
    return Link(
        chain=copy["chain"],
        sequence=int(copy["sequence"]),  # proto3 JSON writes 64-bit numbers as strings
        record_id=copy["record_id"],
        tenant=metadata.get("tenant_uid", ""),
        request_id=metadata.get("correlation_uid", ""),
        previous_fingerprint=copy["previous_fingerprint"],
        fingerprint=copy["fingerprint"],
        record_json=copy["record_json"],
    )
