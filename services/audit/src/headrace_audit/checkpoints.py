"""What is signed: a chain's checkpoint, the succession from one key to the next, and the manifest of an export.

Each is a text of a few lines, made into a signed note (`notes`). A checkpoint is the one of C2SP's tlog-checkpoint.md:
origin, size, root hash; below them, the fingerprint of the last link and the time. Every append signs its chain anew,
so no link is ever committed unsigned; now and then a checkpoint is kept, to be anchored elsewhere. When, `Seal` says.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from headrace_errors import Unavailable

from headrace_audit.domain import Decision, Head, Link
from headrace_audit.merkle import HASH_BYTES, Tree, leaf_hash
from headrace_audit.notes import NAME, NoteRefused, SigningKey, VerifierKey, open_note, split

_SUCCESSION, _MANIFEST = f"{NAME}/key", f"{NAME}/export"
_NO_TREE = Tree()
KEY_CHANGED = "audit.key_changed"


class SignedByAnother(Unavailable):
    """The chain goes on under a key that this replica's does not succeed: it must be restarted with the right one."""

    default_reason = "signed_by_another_key"


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
        """Return what has to be recorded before this key signs the chain: how it came after the one that did.

        SignedByAnother when it did not.
        """
        if not tip.key:
            return []
        return [
            Decision(
                record_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{tip.head.chain}/{key}")),
                action=KEY_CHANGED,
                service="audit",
                disposition="allowed",
                decided_at=at,
                facts={"key": key, "succession": note},
            )
            for key, note in lineage(self.signer, self.successions, since=tip.key)
        ]

    def close(self, tip: Tip, links: Sequence[Link], *, at: datetime) -> Tip:
        """Sign the chain as it is with `links` behind `tip`."""
        head = links[-1].head if links else tip.head
        tree = tip.tree.grown(leaf_hash(link.record_json.encode()) for link in links)
        note = self.key.sign(Checkpoint(head.chain, tree.size, tree.root, head.fingerprint, at).to_text())
        kept = head.sequence if head.sequence - tip.kept >= self.links_max else tip.kept
        return Tip(head=head, tree=tree, note=note, key=self.signer, kept=kept)


def keeping(tip: Tip) -> Tip:
    """Return the tip with its newest checkpoint kept."""
    return replace(tip, kept=tip.head.sequence)


def succession(old: SigningKey, new: VerifierKey) -> str:
    """Return the note by which one key hands over to the next."""
    return old.sign(f"{_SUCCESSION}\n{old.verifier}\n{new}\n")


def predecessor_of(note: str, key: str) -> str:
    """Return the key that handed over to `key` by this note, its signature verified; empty when none did."""
    try:
        origin, old, new = split(note)[0].splitlines()
        open_note(note, [VerifierKey.parse(old)])
    except ValueError:
        return ""
    return old if (origin, new) == (_SUCCESSION, key) else ""


def lineage(key: str, successions: Sequence[str], *, since: str) -> list[tuple[str, str]]:
    """Return the keys after `since` up to `key`, the oldest first, each with the note by which it was handed over.

    SignedByAnother when no such line leads there.
    """
    line: list[tuple[str, str]] = []
    while key != since:
        found = [(note, old) for note in successions if (old := predecessor_of(note, key))]
        if not found or len(line) > len(successions):
            raise SignedByAnother(f"{since} signs here, which did not hand over to the key of this replica")
        line.insert(0, (key, found[0][0]))
        key = found[0][1]
    return line


def trusted(keys: Iterable[VerifierKey], successions: Iterable[str]) -> list[VerifierKey]:
    """Return the keys and all that they handed over to, by successions in any order."""
    known, rest = {str(key): key for key in keys}, list(successions)
    while True:
        heirs = [heir for note in rest if (heir := _heir(note, known)) is not None and str(heir) not in known]
        if not heirs:
            return list(known.values())
        known |= {str(heir): heir for heir in heirs}


def predecessors(keys: Iterable[VerifierKey], successions: Iterable[str]) -> list[VerifierKey]:
    """Return the keys that, one after the other, handed over to these. They are not trusted for it."""
    heirs, found, rest = {str(key) for key in keys}, dict[str, VerifierKey](), list(successions)
    while heirs:
        old = {predecessor_of(note, heir) for note in rest for heir in heirs} - {""} - found.keys()
        found |= {key: VerifierKey.parse(key) for key in old}
        heirs = old
    return list(found.values())


def _heir(note: str, known: Mapping[str, VerifierKey]) -> VerifierKey | None:
    try:
        new = VerifierKey.parse(split(note)[0].splitlines()[-1])
    except (NoteRefused, IndexError):
        return None
    return new if predecessor_of(note, str(new)) in known else None


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
