"""What is signed of chains: their checkpoints, and the manifest of an export.

Each is a text of a few lines, made into a signed note (`notes`). A checkpoint is the one of C2SP's tlog-checkpoint.md:
origin, size, root hash; below them, the fingerprint of the last link and the time. Every append signs its chain anew,
so no link is ever committed unsigned; now and then a checkpoint is kept, to be anchored elsewhere. When, `Seal` says.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from headrace_errors import Unavailable

from headrace_audit.domain import Decision, Head, Link
from headrace_audit.merkle import HASH_BYTES, Tree, leaf_hash
from headrace_audit.notes import NAME, NoteRefused, SigningKey, VerifierKey, open_note
from headrace_audit.successions import lineage, predecessors

_MANIFEST = f"{NAME}/export"
_NO_TREE = Tree()
KEY_CHANGED, SIGNED_UNSEEN = "audit.key_changed", "audit.signed_unseen"


class RecordChanged(Unavailable):
    """What is stored of a chain is not what was signed last: nothing more is signed before somebody has looked."""

    default_reason = "record_changed"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is vouched for: the chain's first `size` records, by their root and the last link's fingerprint."""

    chain: str
    size: int
    root: bytes
    fingerprint: str
    signed_at: datetime

    def to_text(self) -> str:
        """Return the text to sign."""
        root = base64.b64encode(self.root).decode()
        moment = self.signed_at.astimezone(UTC).isoformat()
        return f"{NAME}/{self.chain}\n{self.size}\n{root}\nfingerprint {self.fingerprint}\nsigned_at {moment}\n"

    @classmethod
    def of_text(cls, text: str) -> Checkpoint:
        """Read what `to_text` wrote; NoteRefused when it is something else."""
        try:
            origin, size, root, fingerprint, moment = text.splitlines()
            checkpoint = cls(
                origin.removeprefix(f"{NAME}/"),
                int(size),
                base64.b64decode(root, validate=True),
                fingerprint.removeprefix("fingerprint "),
                datetime.fromisoformat(moment.removeprefix("signed_at ")),
            )
        except ValueError:
            raise NoteRefused("not a checkpoint") from None
        if checkpoint.to_text() != text or len(checkpoint.root) != HASH_BYTES:
            raise NoteRefused("not a checkpoint")
        return checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Tip:
    """Where a chain ends, and what the next checkpoint goes on from.

    `note` is the newest checkpoint, signed by `key`; both are empty for a chain that nothing signed yet. `kept` is the
    size of the last checkpoint that was kept.
    """

    head: Head
    tree: Tree = _NO_TREE
    note: str = ""
    key: str = ""
    kept: int = 0


@dataclass(frozen=True, slots=True)
class Seal:
    """How this replica signs: its key, and the notes by which the keys before handed over, if there were any.

    A checkpoint is kept at the latest after `links_max` links.
    """

    key: SigningKey
    successions: tuple[str, ...] = ()
    links_max: int = 1_000

    @property
    def signer(self) -> str:
        """The public key as text."""
        return str(self.key.verifier)

    def announcements(self, tip: Tip, at: datetime) -> list[Decision]:
        """Return what has to be recorded before this key signs the chain.

        That is how it came after the key that did, and which links it signs without having seen them signed: an older
        release wrote them, or somebody who has no key. SignedByAnother where no line leads to this key, RecordChanged
        where the tip is not what its own checkpoint says.
        """
        line = lineage(self.signer, self.successions, since=tip.key) if tip.key else []
        changes = [_own(KEY_CHANGED, f"{tip.head.chain}/{key}", at, key=key, succession=note) for key, note in line]
        signed = self._signed(tip)
        if signed == tip.head.sequence:
            return changes
        unseen = f"{tip.head.chain}/{signed + 1}-{tip.head.sequence}"
        return [*changes, _own(SIGNED_UNSEEN, unseen, at, first=str(signed + 1), last=str(tip.head.sequence))]

    def _signed(self, tip: Tip) -> int:
        """Return up to where the chain is signed, by the checkpoint that stands in its tip."""
        if not tip.note:
            return 0
        try:
            text, _ = open_note(tip.note, self._line())
            signed = Checkpoint.of_text(text)
        except NoteRefused:
            raise RecordChanged(f"the checkpoint of {tip.head.chain} is not signed by a key of ours") from None
        is_end = signed.size == tip.head.sequence
        whole = (signed.chain, signed.size, signed.root) == (tip.head.chain, tip.tree.size, tip.tree.root)
        if not whole or signed.size > tip.head.sequence or (is_end and signed.fingerprint != tip.head.fingerprint):
            raise RecordChanged(f"{tip.head.chain} does not end as its checkpoint says: `headrace audit verify`")
        return signed.size

    def _line(self) -> Iterator[VerifierKey]:
        yield self.key.verifier  # nearly always; the others cost a signature each
        yield from predecessors([self.key.verifier], self.successions)

    def close(self, tip: Tip, links: Sequence[Link], *, at: datetime) -> Tip:
        """Sign the chain as it is with `links` behind `tip`."""
        head = links[-1].head if links else tip.head
        tree = tip.tree.grown(leaf_hash(link.record_json.encode()) for link in links)
        note = self.key.sign(Checkpoint(head.chain, tree.size, tree.root, head.fingerprint, at).to_text())
        kept = head.sequence if head.sequence - tip.kept >= self.links_max else tip.kept
        return Tip(head=head, tree=tree, note=note, key=self.signer, kept=kept)


def _own(action: str, what: str, at: datetime, **facts: str) -> Decision:
    return Decision(
        record_id=str(uuid.uuid5(uuid.NAMESPACE_URL, what)),
        action=action,
        service="audit",
        disposition="allowed" if action == KEY_CHANGED else "observed",
        decided_at=at,
        facts=facts,
    )


def keeping(tip: Tip) -> Tip:
    """Return the tip with its newest checkpoint kept."""
    return replace(tip, kept=tip.head.sequence)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an export holds: every chain by where it ends."""

    heads: tuple[Head, ...]
    made_at: datetime

    def to_text(self) -> str:
        """Return the text to sign."""
        chains = "".join(f"{head.chain} {head.sequence} {head.fingerprint}\n" for head in self.heads)
        return f"{_MANIFEST}\n{self.made_at.astimezone(UTC).isoformat()}\n{chains}"

    @classmethod
    def of_text(cls, text: str) -> Manifest:
        """Read what `to_text` wrote; NoteRefused when it is something else."""
        try:
            origin, moment, *chains = text.splitlines()
            heads = tuple(Head(chain, int(length), mark) for chain, length, mark in map(str.split, chains))
            manifest = cls(heads, datetime.fromisoformat(moment))
        except ValueError:
            raise NoteRefused("not a manifest") from None
        if origin != _MANIFEST or manifest.to_text() != text:
            raise NoteRefused("not a manifest")
        return manifest
