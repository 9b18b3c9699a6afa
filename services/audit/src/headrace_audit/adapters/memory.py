"""The record in memory: for tests. It keeps the promises of the ports, and forgets everything with the process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from headrace_messaging import Event

from headrace_audit.checkpoints import Tip
from headrace_audit.configuration import Declared
from headrace_audit.domain import ChainMoved, Head, Link
from headrace_audit.merkle import leaf_hash
from headrace_audit.ports import KeptCheckpoint, Place
from headrace_audit.reports import VerifyReport
from headrace_audit.successions import lineage
from headrace_audit.verification import Contents, verify


class MemoryRecord:
    """Links and tips in lists; a delivery works on copies that an error throws away."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.ends: dict[str, Tip] = {}
        self.inbox: set[tuple[str, str]] = set()
        self.kept: list[KeptCheckpoint] = []
        self.signers: list[tuple[str, str]] = []
        self.declarations: dict[str, Declared] = {}
        self._anchored: set[KeptCheckpoint] = set()

    @asynccontextmanager
    async def delivery(self, chain: str, events: Sequence[Event[Any]] = ()) -> AsyncIterator[MemoryAppending]:  # noqa: ARG002 - nothing to lock
        """Open the transaction of what was delivered together; it commits on leaving."""
        draft = MemoryAppending(self, events)
        yield draft
        draft.commit()

    async def links_of(self, tenant: str, request_id: str, *, links_max: int) -> Sequence[Link]:
        """Return the first links of a tenant's request."""
        return [one for one in self.ordered() if (one.tenant, one.request_id) == (tenant, request_id)][:links_max]

    async def verify(self) -> VerifyReport:
        """Verify every chain."""
        return verify(self.ordered(), self.contents)

    @property
    def contents(self) -> Contents:
        """What the record says of itself."""
        tips = self.ends.values()
        notes = [tip.note for tip in tips] + [one.note for one in self.kept]
        return Contents(
            heads=tuple(tip.head for tip in tips),
            checkpoints=tuple(note for note in notes if note),
            successions=tuple(note for _, note in self.signers if note),
        )

    async def tips(self) -> Sequence[Tip]:
        """Return where every chain ends."""
        return list(self.ends.values())

    async def sign_with(self, key: str, successions: Sequence[str]) -> None:
        """Make `key` the one that signs."""
        newest = self.signers[-1][0] if self.signers else None
        self.signers += lineage(key, successions, since=newest) if newest else [(key, "")]

    async def unanchored(self, *, after: Place, checkpoints_max: int) -> Sequence[KeptCheckpoint]:
        """Return the first kept checkpoints behind a place that are not known to be anchored."""
        waiting = [one for one in self.kept if one not in self._anchored and one.place > after]
        return sorted(waiting, key=lambda one: one.place)[:checkpoints_max]

    async def anchored(self, checkpoint: KeptCheckpoint) -> None:
        """Note that a checkpoint is anchored."""
        self._anchored.add(checkpoint)

    def ordered(self) -> list[Link]:
        """Return the links, each chain's in order."""
        return sorted(self.links, key=lambda link: (link.chain, link.sequence))


class MemoryAppending:
    """One delivery's draft."""

    def __init__(self, record: MemoryRecord, events: Sequence[Event[Any]]) -> None:
        self._record = record
        self._ids = [(event.envelope.tenant, event.envelope.id) for event in events]
        self._drafts: list[tuple[Sequence[Link], Tip, Tip]] = []
        self._declarations: dict[str, Declared] = {}

    async def unseen(self) -> Sequence[int]:
        """Tell which events are new, each once."""
        first = {one: place for place, one in reversed(list(enumerate(self._ids)))}
        return sorted(place for one, place in first.items() if one not in self._record.inbox)

    async def tip(self, chain: str) -> Tip:
        """Return the end of a chain."""
        return self._record.ends.get(chain, Tip(head=Head(chain)))

    async def leaves(self, chain: str, *, after: int, leaves_max: int) -> Sequence[bytes]:
        """Return the leaf hashes of a chain's first links behind a sequence."""
        links = [one for one in self._record.ordered() if one.chain == chain and one.sequence > after]
        return [leaf_hash(one.record_json.encode()) for one in links[:leaves_max]]

    async def append(self, links: Sequence[Link], *, before: Tip, tip: Tip) -> None:
        """Keep the links for the commit."""
        self._check(before)
        self._drafts.append((links, before, tip))

    async def declared(self) -> Mapping[str, Declared]:
        """Return what is known of the configuration."""
        return dict(self._record.declarations)

    async def declare(self, changes: Sequence[Declared]) -> None:
        """Keep what is known for the commit."""
        self._declarations |= {change.part: change for change in changes}

    def commit(self) -> None:
        """Make the draft the record; ChainMoved when another delivery came first."""
        for links, before, tip in self._drafts:
            self._check(before)
            self._record.links += links
            self._record.ends[tip.head.chain] = tip
            if tip.kept > before.kept:
                self._record.kept.append(KeptCheckpoint(tip.head.chain, tip.kept, tip.note))
        self._record.inbox.update(self._ids)
        self._record.declarations |= self._declarations

    def _check(self, before: Tip) -> None:
        if self._record.ends.get(before.head.chain, Tip(head=Head(before.head.chain))).head != before.head:
            raise ChainMoved(f"{before.head.chain} does not end at {before.head.sequence}")
