"""Verification of chains, without I/O: which chain is broken, and at which sequence first.

It trusts nothing but the links and heads it is given. What these cannot show, it cannot see: a chain that was written
anew as a whole, heads included, or a chain removed with its head. `first_difference` finds those against any copy
that was kept elsewhere; docs/money-and-proof.md says which copies there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

from headrace_audit.domain import GENESIS, Head, Link, flaw_of


@dataclass(frozen=True, slots=True)
class ChainReport:
    """One chain's state. `broken_at` is the first sequence that does not verify, 0 when all do."""

    chain: str
    length: int
    head_fingerprint: str
    broken_at: int = 0
    flaw: str = ""

    @property
    def verified(self) -> bool:
        """True when every link verifies and the chain ends where its head says."""
        return self.broken_at == 0


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Every chain's state; `flaw` says why nothing could be read at all.

    `ends_known` is False when no heads were given: then a chain that lost its last links looks like a shorter one.
    """

    chains: tuple[ChainReport, ...]
    ends_known: bool = True
    flaw: str = ""

    @property
    def verified(self) -> bool:
        """True when the record could be read and every chain verifies."""
        return not self.flaw and all(chain.verified for chain in self.chains)

    @property
    def links(self) -> int:
        """Links that were looked at, over all chains."""
        return sum(chain.length for chain in self.chains)

    def as_json(self) -> dict[str, Any]:
        """Return the report for programs; the keys are stable."""
        chains = [asdict(chain) | {"verified": chain.verified} for chain in self.chains]
        return {
            "verified": self.verified,
            "links": self.links,
            "ends_known": self.ends_known,
            "flaw": self.flaw,
            "chains": chains,
        }


class _Walk:
    """One chain as it is walked, link by link; it stops judging at the first flaw and only counts on."""

    def __init__(self, chain: str) -> None:
        self.chain = chain
        self.length = 0
        self.sequence = 0
        self.fingerprint = GENESIS
        self.broken_at = 0
        self.flaw = ""

    def step(self, link: Link) -> None:
        self.length += 1
        if self.broken_at:
            return
        expected = self.sequence + 1
        if link.sequence < expected:
            self._break(link.sequence if link.sequence > 0 else expected, "a second link claims this sequence")
        elif link.sequence > expected:
            self._break(expected, "this link is missing")
        elif flaw := flaw_of(link, self.fingerprint):
            self._break(expected, flaw)
        else:
            self.sequence, self.fingerprint = expected, link.fingerprint

    def end(self, head: Head | None) -> ChainReport:
        if not self.broken_at and head is not None:
            self._compare(head)
        return ChainReport(self.chain, self.length, self.fingerprint, self.broken_at, self.flaw)

    def _compare(self, head: Head) -> None:
        if head.sequence > self.sequence:
            self._break(self.sequence + 1, "the end of the chain is missing")
        elif head.sequence < self.sequence:
            self._break(head.sequence + 1, "the chain goes on behind its head")
        elif head.fingerprint != self.fingerprint:
            self._break(self.sequence, "the head has another fingerprint")

    def _break(self, sequence: int, flaw: str) -> None:
        self.broken_at, self.flaw = max(1, sequence), flaw  # 0 would say that all is well


class Verification:
    """A verification under way: give it the links (each chain's in order), then ask for the report.

    `heads` is None when no heads were kept with the links.
    """

    def __init__(self, heads: Mapping[str, Head] | None) -> None:
        self._heads = heads
        self._walks: dict[str, _Walk] = {chain: _Walk(chain) for chain in heads or ()}

    def add(self, links: Iterable[Link]) -> None:
        """Judge more links."""
        for link in links:
            self._walks.setdefault(link.chain, _Walk(link.chain)).step(link)

    def report(self) -> VerifyReport:
        """Compare the ends with the heads, and say what was found."""
        walks, heads = self._walks, self._heads
        if heads is None:
            return VerifyReport(tuple(walks[chain].end(None) for chain in sorted(walks)), ends_known=False)
        # Links without a head: somebody removed the head, for every append writes both.
        return VerifyReport(tuple(walks[chain].end(heads.get(chain, Head(chain))) for chain in sorted(walks)))


def verify(links: Iterable[Link], heads: Mapping[str, Head] | None) -> VerifyReport:
    """Verify links (each chain's in order) against the heads; None when no heads were kept with the links."""
    verification = Verification(heads)
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
