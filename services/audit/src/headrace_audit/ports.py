"""What the use cases need from outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from headrace_audit.domain import Head, Link
from headrace_audit.verification import VerifyReport

Clock = Callable[[], datetime]
"""The time in UTC."""


class Appending(Protocol):
    """The transaction of what was delivered together, of one chain: all of it happens, or nothing."""

    async def unseen(self) -> Sequence[int]:
        """Take the delivery into the inbox; return the places in it, in order, of what was not there yet."""
        ...

    async def head(self, chain: str) -> Head:
        """Return the end of a chain; the genesis for one that does not exist yet."""
        ...

    async def append(self, links: Sequence[Link]) -> None:
        """Append links of one chain behind the head that the first follows and announce them; at least one.

        ChainMoved when that is not the head.
        """
        ...


Delivery = AbstractAsyncContextManager[Appending]
"""Commits on leaving, rolls back on an error."""


class Record(Protocol):
    """The record as it is asked for."""

    async def links_of(self, tenant: str, request_id: str, *, links_max: int) -> Sequence[Link]:
        """Return the first `links_max` links of a tenant's request, in order of chain and sequence."""
        ...

    async def verify(self) -> VerifyReport:
        """Verify every chain; takes time in proportion to the record, off the event loop."""
        ...
