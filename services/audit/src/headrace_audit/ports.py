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
    """One delivery's transaction: all of it happens, or nothing."""

    async def first_time(self) -> bool:
        """Take the delivery into the inbox; False when it was there already and nothing is left to do."""
        ...

    async def head(self, chain: str) -> Head:
        """Return the end of a chain; the genesis for one that does not exist yet."""
        ...

    async def append(self, link: Link) -> None:
        """Append behind the head that the link follows and announce it; ChainMoved when that is not the head."""
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
