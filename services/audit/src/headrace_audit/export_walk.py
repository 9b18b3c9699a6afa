"""A walk over an export, which somebody else may have written: it takes nothing for granted, and bounds what it holds.

What is no link stands where the next one was to come, so that the verifier names that place. What an export is,
`exporting` says; the judgement is `verification`'s.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from headrace_audit.checkpoints import Manifest
from headrace_audit.domain import Head, Link, metadata_of
from headrace_audit.notes import NoteRefused, VerifierKey, open_note
from headrace_audit.successions import trusted
from headrace_audit.verification import Contents
from headrace_audit.walks import Start, W

FORMAT = "headrace-audit-export/1"
HEADER_BYTES_MAX = 256 * 1024 * 1024  # half a million checkpoints
LINE_BYTES_MAX = 16 * 1024 * 1024  # a record of the bus's largest payload, every character of it escaped

# What json and the shapes that it returns raise where they are not what they should be.
_UNREADABLE = (ValueError, KeyError, TypeError, RecursionError)
_TEXTS = ("chain", "record_id", "previous_fingerprint", "fingerprint", "record_json")
_NO_LINK = Link(
    chain="",
    sequence=0,
    record_id="",
    tenant="",
    request_id="",
    previous_fingerprint="",
    fingerprint="",
    record_json="",
)


def walk_export(path: Path, start: Start[W], keys: Sequence[VerifierKey]) -> W:
    """Walk an export. NoteRefused where it does not begin with a manifest that one of the keys, or an heir, signed."""
    with path.open("rb") as file:
        contents = _header(file.readline(HEADER_BYTES_MAX), keys)
        walker = start(contents)
        walker.add(_links(file, contents.heads))
        return walker


def _header(line: bytes, keys: Sequence[VerifierKey]) -> Contents:
    try:
        header = json.loads(line)
        form, manifest = _texts([header["format"], header["manifest"]])
        checkpoints, successions = _texts(header["checkpoints"]), _texts(header["successions"])
    except _UNREADABLE:
        raise NoteRefused("the export does not begin with a manifest") from None
    if form != FORMAT:
        raise NoteRefused(f"the export is not a {FORMAT}")
    try:
        text, _ = open_note(manifest, trusted(keys, successions))
    except NoteRefused:
        raise NoteRefused(
            "the manifest is not signed by the key that was given, nor by one that it handed over to"
        ) from None
    said = Manifest.of_text(text)
    return Contents(said.heads, checkpoints, successions, said.made_at)


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise TypeError("not a list of texts")
    return tuple(value)


def _links(file: BinaryIO, heads: Sequence[Head]) -> Iterator[Link]:
    rest = {head.chain: head.sequence for head in heads}
    while line := file.readline(LINE_BYTES_MAX):
        due = next((chain for chain, left in rest.items() if left > 0), "")
        try:
            link = _link(json.loads(line.decode("utf-8", "surrogateescape")))  # a flipped byte may be no UTF-8 any more
        except _UNREADABLE:
            link = replace(_NO_LINK, chain=due)
        rest[link.chain] = rest.get(link.chain, 0) - 1
        yield link
        if len(line) == LINE_BYTES_MAX:  # no link of ours; what comes behind it is missing, and said to be
            return


def _link(copy: dict[str, Any]) -> Link:
    texts = _texts([copy[name] for name in _TEXTS])
    if type(copy["sequence"]) is not int:
        raise TypeError("not a sequence")
    chain, record_id, previous_fingerprint, fingerprint, record_json = texts
    metadata = metadata_of(record_json) or {}  # the verdict on the record is the verifier's
    return Link(
        chain=chain,
        sequence=copy["sequence"],
        record_id=record_id,
        tenant=metadata.get("tenant_uid", ""),
        request_id=metadata.get("correlation_uid", ""),
        previous_fingerprint=previous_fingerprint,
        fingerprint=fingerprint,
        record_json=record_json,
    )
