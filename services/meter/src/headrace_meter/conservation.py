"""The conservation of money: what is reserved is held, unknown, settled or released, and what is spent was charged.

Balances are kept as running sums beside the rows that they sum; here both are compared, account by account: each
tenant's months, and the periods of its budgets. It only looks: a difference is a bug or a meddled ledger, and mending
it is for people (docs/runbooks/conservation.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, get_args

from headrace_meter.budgets import LIFETIME
from headrace_meter.domain import ReservationState, period_of

STATES: tuple[ReservationState, ...] = get_args(ReservationState)


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """A tenant's month, or one period of a budget, as one snapshot shows it. Amounts are picos.

    Of a budget, what is held and spent has books; the others are its tenant's. `reserved` and `account_*` are the
    running sums of the account, `reserved` that of all that was ever reserved; `by_state` is what its rows say became
    of that, `booked` are usages with charges. Of all meters together `counted` is the running count, which tiers go by,
    and `charged` what charges say.
    """

    tenant: str
    period: str
    budget: str = ""
    subject: str = ""
    reserved_picos: int = 0
    by_state_picos: Mapping[str, int]
    account_reserved_picos: int = 0
    account_spent_picos: int = 0
    charged_picos: int = 0
    counted: int = 0
    charged: int = 0
    usages: int = 0
    booked: int = 0
    unrated: int = 0

    def differences(self) -> Mapping[str, int]:
        """Return by how much each book is off: money in picos, others counted; all 0 in a ledger that conserves."""
        state = {name: self.by_state_picos.get(name, 0) for name in STATES}
        return {
            "reservations": self.reserved_picos - sum(state.values()),
            "holds": self.account_reserved_picos - state["held"] - state["unknown"],
            "spending": self.account_spent_picos - self.charged_picos,
            "counts": self.counted - self.charged,
            "usages": self.usages - self.booked - self.unrated,
        }


class Bookkeeping(Protocol):
    """The ledger as it is audited. Reads, and never waits for a writer."""

    async def books(self, since: str) -> Sequence[Books]:
        """Return every tenant's months, and the periods of its budgets, from `since` on, of one snapshot.

        `since` is a month, `2026-11`; empty: all, and only then the lifetimes.
        """
        ...

    async def leaked(self, closed_before: datetime) -> Mapping[str, int]:
        """Count by tenant the reservations that are held although their request had its outcome before then."""
        ...


class Watchers(Protocol):
    """Who is told how the books stand."""

    def books(self, books: Sequence[Books], leaked: Mapping[str, int]) -> None:
        """Show every tenant's books as they are now, and say aloud what is off."""
        ...

    def stand_down(self) -> None:
        """Stop showing anything: another replica does."""
        ...


class Monitor:
    """Checks the books again and again: this month's and the last one's each time, older ones every `whole_every`.

    Months before the last change only by late usage, so what an older check found of them stands until the next. Of
    budgets only what is off is remembered: they have books for every day and subject that ever was.
    `leak_after` is how long after a request's outcome a reservation may still be held: its usage may be on its way.
    """

    def __init__(
        self,
        *,
        bookkeeping: Bookkeeping,
        watchers: Watchers,
        clock: Callable[[], datetime],
        whole_every: timedelta,
        leak_after: timedelta,
    ) -> None:
        self._bookkeeping, self._watchers, self._clock = bookkeeping, watchers, clock
        self._whole_every, self._leak_after = whole_every, leak_after
        self._whole_at: datetime | None = None
        self._known: list[Books] = []

    async def check(self) -> None:
        """Compare once, and tell; Unavailable when the ledger cannot be read."""
        now = self._clock()
        whole = self._whole_at is None or now - self._whole_at >= self._whole_every
        since = "" if whole else period_of(now.replace(day=1) - timedelta(days=1))
        found = await self._bookkeeping.books(since)
        leaked = await self._bookkeeping.leaked(now - self._leak_after)
        told = [*(each for each in self._known if not is_read(each.period, since)), *found]
        self._known = [each for each in told if not each.budget or any(each.differences().values())]
        if whole:
            self._whole_at = now
        self._watchers.books(told, leaked)

    def stand_down(self) -> None:
        """Forget what was found: another replica checks now. A no-op for one that has found nothing."""
        if self._whole_at is not None:
            self._whole_at, self._known = None, []
            self._watchers.stand_down()


def is_read(period: str, since: str) -> bool:
    """Tell whether a period's books are read `since` a month: a lifetime's are with the whole ledger only."""
    return not since or (period >= since and period != LIFETIME)
