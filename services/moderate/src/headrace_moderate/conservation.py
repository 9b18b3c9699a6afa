"""The conservation of requests: each one that came in has an outcome, or still time to get one.

It only looks. A request that has neither was lost by every stage and by the sweep that ends such requests, or its row
was meddled with: mending it is for people (docs/runbooks/conservation.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from headrace_moderate.ports import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """A tenant's requests. `waiting` have no outcome and their time is not up; the outcome of `decided` is whole."""

    tenant: str
    registered: int
    decided: int
    waiting: int

    @property
    def difference(self) -> int:
        """How many requests are neither waiting nor decided: 0 where requests in are outcomes out."""
        return self.registered - self.decided - self.waiting


class Counting(Protocol):
    """The table of requests as it is audited."""

    async def balances(self, due_before: datetime) -> Sequence[Balance]:
        """Count every tenant's requests in one snapshot; an open one with its deadline before then has no time left.

        Reads the whole table; never waits for a writer.
        """
        ...


class Watchers(Protocol):
    """Who is told how the requests stand."""

    def balances(self, balances: Sequence[Balance]) -> None:
        """Show every tenant's requests as they are now, and say aloud how many are off."""
        ...


async def check_balances(*, counting: Counting, watchers: Watchers, clock: Clock, grace: timedelta) -> None:
    """Count once and tell; `grace` is how long past its deadline the sweep may take to end a request. Unavailable."""
    watchers.balances(await counting.balances(clock() - grace))
