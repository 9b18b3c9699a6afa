"""The record in memory: for tests. It keeps the promises of the ports, and forgets everything with the process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from headrace_messaging import Event

from headrace_audit.domain import ChainMoved, Head, Link
from headrace_audit.verification import VerifyReport, verify


class MemoryRecord:
    """Links and heads in lists; a delivery works on copies that an error throws away."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.heads: dict[str, Head] = {}
        self.inbox: set[tuple[str, str]] = set()

    @asynccontextmanager
    async def delivery(self, events: Sequence[Event[Any]]) -> AsyncIterator[MemoryAppending]:
        """Open the transaction of what was delivered together; it commits on leaving."""
        draft = MemoryAppending(self, events)
        yield draft
        draft.commit()

    async def links_of(self, tenant: str, request_id: str, *, links_max: int) -> Sequence[Link]:
        """Return the first links of a tenant's request."""
        return [one for one in self._ordered() if (one.tenant, one.request_id) == (tenant, request_id)][:links_max]

    async def verify(self) -> VerifyReport:
        """Verify every chain."""
        return verify(self._ordered(), self.heads)

    def _ordered(self) -> list[Link]:
        return sorted(self.links, key=lambda link: (link.chain, link.sequence))


class MemoryAppending:
    """One delivery's draft."""

    def __init__(self, record: MemoryRecord, events: Sequence[Event[Any]]) -> None:
        self._record = record
        self._ids = [(event.envelope.tenant, event.envelope.id) for event in events]
        self._added: list[Link] = []

    async def unseen(self) -> Sequence[int]:
        """Tell which events are new, each once."""
        first = {one: place for place, one in reversed(list(enumerate(self._ids)))}
        return sorted(place for one, place in first.items() if one not in self._record.inbox)

    async def head(self, chain: str) -> Head:
        """Return the end of a chain."""
        return self._record.heads.get(chain, Head(chain))

    async def append(self, links: Sequence[Link]) -> None:
        """Keep the links for the commit."""
        self._check(links[0])
        self._added += links

    def commit(self) -> None:
        """Make the draft the record; ChainMoved when another delivery came first."""
        for link in self._added:
            self._check(link)
            self._record.links.append(link)
            self._record.heads[link.chain] = link.head
        self._record.inbox.update(self._ids)

    def _check(self, link: Link) -> None:
        head = self._record.heads.get(link.chain, Head(link.chain))
        if (head.sequence + 1, head.fingerprint) != (link.sequence, link.previous_fingerprint):
            raise ChainMoved(f"{link.chain} does not end at {link.sequence - 1}")
