"""Proofs of inclusion: that one event's record stands in a chain that was signed, checkable without the chain.

docs/verify_inclusion.py checks them, in thirty lines that share nothing with this.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from headrace_audit.checkpoints import Checkpoint
from headrace_audit.domain import Link, stored_bytes
from headrace_audit.merkle import inclusion_path, leaf_hash, root_of
from headrace_audit.notes import NoteRefused, split
from headrace_audit.verification import Contents


class Prover:
    """Looks for an event's record as the record is walked; of its chain, and of no other, it keeps the hashes."""

    def __init__(self, contents: Contents, event_id: str, *, tenant: str = "") -> None:
        self._contents = contents
        self._event_id = event_id
        self._tenant = tenant
        self._found: Link | None = None
        self._chain = ""
        self._leaves: list[bytes] = []

    def add(self, links: Iterable[Link]) -> None:
        """Look through more links."""
        for link in links:
            if self._found is not None and link.chain != self._found.chain:
                return
            if link.chain != self._chain:
                self._chain, self._leaves = link.chain, []
            self._leaves.append(leaf_hash(stored_bytes(link.record_json)))
            if link.record_id == self._event_id and self._tenant in ("", link.tenant):
                self._found = self._found or link

    def proof(self) -> dict[str, Any] | None:
        """Return the proof, None where there is no such event.

        NoteRefused when the chain is not signed to its end, or is not the one that was signed: a proof that proves
        nothing is not handed out.
        """
        if self._found is None:
            return None
        index, size = self._found.sequence - 1, len(self._leaves)
        if not 0 <= index < size:
            raise NoteRefused(f"links of {self._chain} are missing; `headrace audit verify` says which")
        path = inclusion_path(self._leaves, index)
        leaf = leaf_hash(stored_bytes(self._found.record_json))
        return {
            "event": self._event_id,
            "chain": self._chain,
            "sequence": self._found.sequence,
            "record_json": self._found.record_json,
            "index": index,
            "size": size,
            "path": [one.hex() for one in path],
            "checkpoint": self._checkpoint(root_of(leaf, index, size, path)),
        }

    def _checkpoint(self, root: bytes) -> str:
        for note in self._contents.checkpoints:
            signed = Checkpoint.of_text(split(note)[0])
            if (signed.chain, signed.size, signed.root) == (self._chain, len(self._leaves), root):
                return note
        raise NoteRefused(f"{self._chain} is not what was signed; `headrace audit verify` says where it parts from it")
