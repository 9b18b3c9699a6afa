"""Verification of chains, without I/O: which chain is broken, and at which sequence first.

It trusts the keys that it is given and nothing else: links must follow each other, and every history must be the one
that was signed. Without keys it can only see what does not fit together: a chain that was written anew as a whole looks
whole. What was signed shows where another history begins only as closely as checkpoints were kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest

from headrace_audit.checkpoints import Checkpoint
from headrace_audit.domain import GENESIS, Head, Link, flaw_of
from headrace_audit.merkle import Tree, leaf_hash
from headrace_audit.notes import NoteRefused, VerifierKey, open_note, split
from headrace_audit.references import is_erasure, unseen_links
from headrace_audit.reports import ChainReport, VerifyReport
from headrace_audit.successions import predecessors, trusted

CHAINS_MAX = 10_000  # partitions of one topic, by far
_SHOWN_CHARACTERS_MAX = 64


@dataclass(frozen=True, slots=True)
class Contents:
    """What a record says of itself before its links: where chains end, all checkpoints, who handed keys over.

    Of these only checkpoints vouch for links, also in an export, whose manifest is signed: whoever exports a record
    signs what he found, not what the service wrote. `made_at` is when an export was made.
    """

    heads: tuple[Head, ...]
    checkpoints: tuple[str, ...] = ()
    successions: tuple[str, ...] = ()
    made_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Expected:
    """A checkpoint to be met; `flaw` when nobody known signed it."""

    checkpoint: Checkpoint
    vouches: bool
    flaw: str = ""


class _Walk:
    """One chain as it is walked, link by link; it stops judging at the first flaw and only counts on."""

    def __init__(self, chain: str, expected: Iterable[_Expected], *, keyed: bool) -> None:
        self.chain = chain
        self.length = 0
        self.sequence = 0
        self.fingerprint = GENESIS
        self.broken_at = 0
        self.flaw = ""
        self.signed_to = 0
        self.erased = 0
        self.unseen = 0
        self._tree = Tree()
        self._keyed = keyed
        self._expected = sorted(expected, key=lambda one: one.checkpoint.size, reverse=True)  # the next one last

    def step(self, link: Link) -> None:
        self.length += 1
        if self.broken_at:
            return
        expected = self.sequence + 1
        if link.sequence < 1:
            self._break(expected, "this link cannot be read")
        elif link.sequence < expected:
            self._break(link.sequence, "a second link claims this sequence")
        elif link.sequence > expected:
            self._break(expected, "this link is missing")
        elif flaw := flaw_of(link, self.fingerprint):
            self._break(expected, flaw)
        else:
            self._accept(link)

    def end(self, head: Head) -> ChainReport:
        if not self.broken_at:
            self._compare(head)
        if self._keyed and not self.broken_at and self.signed_to < self.sequence:
            self._break(self.signed_to + 1, "from here on no trusted key vouches for the chain")
        return ChainReport(
            _shown(self.chain),
            self.length,
            self.fingerprint,
            self.broken_at,
            self.flaw,
            signed_to=self.signed_to,
            erased=self.erased,
            unseen=self.unseen,
        )

    def _accept(self, link: Link) -> None:
        self.sequence, self.fingerprint = link.sequence, link.fingerprint
        self.erased += is_erasure(link.record_json)
        self.unseen += unseen_links(link.record_json)
        self._tree = self._tree.grown([leaf_hash(link.record_json.encode())])
        while self._expected and self._expected[-1].checkpoint.size <= self.sequence and not self.broken_at:
            self._meet(self._expected.pop())

    def _meet(self, expected: _Expected) -> None:
        signed = expected.checkpoint
        if expected.flaw:
            self._break(signed.size, expected.flaw)
        elif (signed.size, signed.root, signed.fingerprint) != (self.sequence, self._tree.root, self.fingerprint):
            self._break(self.signed_to + 1, f"another history than the signed one begins here, or by {signed.size}")
        elif expected.vouches:
            self.signed_to = signed.size

    def _compare(self, head: Head) -> None:
        length = max([head.sequence, *(one.checkpoint.size for one in self._expected)])
        if length > self.sequence:
            self._break(self.sequence + 1, "the end of the chain is missing")
        elif head.sequence < self.sequence:
            self._break(head.sequence + 1, "the chain goes on behind its head")
        elif head.fingerprint != self.fingerprint:
            first = min(self.signed_to + 1, self.sequence) if self._keyed else self.sequence
            self._break(first, f"another history than that of the head begins here, or by {self.sequence}")

    def _break(self, sequence: int, flaw: str) -> None:
        self.broken_at, self.flaw = max(1, sequence), flaw  # 0 would say that all is well


class Verification:
    """A verification under way: give it the links (each chain's in order), then ask for the report.

    `keys` are those that the caller trusts, from elsewhere than the record; None to check no signature. `anchored` are
    checkpoints that were kept elsewhere. NoteRefused when what was signed cannot be read, or there is more than a
    record holds.
    """

    def __init__(
        self, contents: Contents, keys: Sequence[VerifierKey] | None = None, anchored: Iterable[str] = ()
    ) -> None:
        self._heads = {head.chain: head for head in contents.heads}
        self._made_at = contents.made_at
        self._keys = None if keys is None else trusted(keys, contents.successions)
        self._known = predecessors(self._keys or (), contents.successions)
        self._expected: dict[str, list[_Expected]] = {}
        for note in {*contents.checkpoints, *anchored}:
            one = self._read(note)
            self._expected.setdefault(one.checkpoint.chain, []).append(one)
        self._walks = {chain: self._walk(chain) for chain in {*self._heads, *self._expected}}

    def add(self, links: Iterable[Link]) -> None:
        """Judge more links."""
        for link in links:
            if link.chain not in self._walks:
                if len(self._walks) >= CHAINS_MAX:
                    raise NoteRefused(f"links of more than {CHAINS_MAX} chains")
                self._walks[link.chain] = self._walk(link.chain)
            self._walks[link.chain].step(link)

    def report(self) -> VerifyReport:
        """Compare the ends with the heads, and say what was found."""
        # Links without a head: somebody removed the head, for every append writes both.
        chains = [self._walks[chain].end(self._heads.get(chain, Head(chain))) for chain in sorted(self._walks)]
        return VerifyReport(tuple(chains), signatures_checked=self._keys is not None, made_at=self._made_at)

    def _walk(self, chain: str) -> _Walk:
        return _Walk(chain, self._expected.get(chain, ()), keyed=self._keys is not None)

    def _read(self, note: str) -> _Expected:
        checkpoint = Checkpoint.of_text(split(note)[0])
        if self._keys is None:
            return _Expected(checkpoint, vouches=False)
        for keys, vouches in ((self._keys, True), (self._known, False)):
            try:
                open_note(note, keys)
            except NoteRefused:
                continue
            return _Expected(checkpoint, vouches=vouches)
        return _Expected(checkpoint, vouches=False, flaw="the checkpoint up to here is not signed by a known key")


def _shown(chain: str) -> str:
    """Return a chain's name as it can be printed: one that somebody made up may hold what a terminal obeys."""
    return chain if chain.isascii() and chain.isprintable() else ascii(chain)[:_SHOWN_CHARACTERS_MAX]


def verify(links: Iterable[Link], contents: Contents, keys: Sequence[VerifierKey] | None = None) -> VerifyReport:
    """Verify links (each chain's in order) against what the record says of itself."""
    verification = Verification(contents, keys)
    verification.add(links)
    return verification.report()


def first_difference(ours: Iterable[Link], theirs: Iterable[Link]) -> tuple[str, int] | None:
    """Return chain and sequence where two histories part, each in order of chain and sequence; None when equal.

    A history that ends earlier than the other within a chain parts where it ends.
    """
    for mine, other in zip_longest(ours, theirs):
        if mine == other:
            continue
        places = [(link.chain, link.sequence) for link in (mine, other) if link is not None]
        return min(places)
    return None
