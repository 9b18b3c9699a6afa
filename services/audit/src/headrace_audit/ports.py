"""What the use cases need from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from headrace_audit.checkpoints import Tip
from headrace_audit.configuration import Declared
from headrace_audit.domain import Link
from headrace_audit.reports import VerifyReport

Clock = Callable[[], datetime]
"""The time in UTC."""


class Appending(Protocol):
    """The transaction of what was delivered together, of one chain: all of it happens, or nothing."""

    async def unseen(self) -> Sequence[int]:
        """Take the delivery into the inbox; return the places in it, in order, of what was not there yet."""
        ...

    async def tip(self, chain: str) -> Tip:
        """Return the end of a chain, its tree as far as it was grown; the genesis for one that does not exist yet."""
        ...

    async def leaves(self, chain: str, *, after: int, leaves_max: int) -> Sequence[bytes]:
        """Return the leaf hashes of a chain's first `leaves_max` links behind a sequence."""
        ...

    async def append(self, links: Sequence[Link], *, before: Tip, tip: Tip) -> None:
        """Append links behind `before` and announce them; the chain then ends at `tip`.

        Its checkpoint is kept where `tip.kept` moved. Without links the chain is only signed anew. ChainMoved when the
        chain does not end at `before`.
        """
        ...

    async def declared(self) -> Mapping[str, Declared]:
        """Return what is known of the configuration, by part."""
        ...

    async def declare(self, changes: Sequence[Declared]) -> None:
        """Keep what is known now of these parts."""
        ...


Delivery = AbstractAsyncContextManager[Appending]
"""Commits on leaving, rolls back on an error."""


Place = tuple[str, int]
"""A chain and a sequence in it."""

BEGINNING: Place = ("", 0)


@dataclass(frozen=True, slots=True)
class KeptCheckpoint:
    """A signed note about a chain's first `sequence` records."""

    chain: str
    sequence: int
    note: str

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self.chain, self.sequence


class Record(Protocol):
    """The record as it is asked for."""

    def delivery(self, chain: str) -> Delivery:
        """Open a transaction on a chain that nothing was delivered for."""
        ...

    async def links_of(self, tenant: str, request_id: str, *, links_max: int) -> Sequence[Link]:
        """Return the first `links_max` links of a tenant's request, in order of chain and sequence."""
        ...

    async def verify(self) -> VerifyReport:
        """Verify every chain; takes time in proportion to the record, off the event loop."""
        ...

    async def tips(self) -> Sequence[Tip]:
        """Return where every chain ends; the trees may lag behind."""
        ...

    async def sign_with(self, key: str, successions: Sequence[str]) -> None:
        """Make `key` the one that signs this record, by the notes that lead to it from the one that did.

        SignedByAnother where another key signs it that did not hand over.
        """
        ...

    async def unanchored(self, *, after: Place, checkpoints_max: int) -> Sequence[KeptCheckpoint]:
        """Return the first kept checkpoints behind a place that are not known to lie in the anchor."""
        ...

    async def anchored(self, checkpoint: KeptCheckpoint) -> None:
        """Note that a checkpoint lies in the anchor."""
        ...


class Anchor(Protocol):
    """A place outside the record that keeps checkpoints for as long as its own retention says."""

    async def put(self, checkpoint: KeptCheckpoint) -> bool:
        """Keep a checkpoint; False where another one stands in its place already. Unavailable."""
        ...
