"""The conservation of money: what is reserved is held, unknown, settled or released, and what is spent was charged.

Balances are kept as running sums beside the rows that they sum; here both are compared, tenant by tenant. It only
looks: a difference is a bug or a meddled ledger, and mending it is for people (docs/runbooks/conservation.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, get_args

from headrace_meter.domain import ReservationState

STATES: tuple[ReservationState, ...] = get_args(ReservationState)


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """A tenant's ledger as one snapshot shows it, all months together. Amounts are picos.

    `reserved` is all that was ever reserved and `by_state` what became of it; `account_*` are the running sums;
    `booked` are usages with charges.
    """

    tenant: str
    reserved_picos: int = 0
    by_state_picos: Mapping[str, int]
    account_reserved_picos: int = 0
    account_spent_picos: int = 0
    charged_picos: int = 0
    usages: int = 0
    booked: int = 0
    unrated: int = 0

    def differences(self) -> Mapping[str, int]:
        """Return by how much each book is off: money in picos, usages counted; all 0 in a ledger that conserves."""
        state = {name: self.by_state_picos.get(name, 0) for name in STATES}
        return {
            "reservations": self.reserved_picos - sum(state.values()),
            "holds": self.account_reserved_picos - state["held"] - state["unknown"],
            "spending": self.account_spent_picos - self.charged_picos,
            "usages": self.usages - self.booked - self.unrated,
        }


class Bookkeeping(Protocol):
    """The ledger as it is audited."""

    async def books(self) -> Sequence[Books]:
        """Return every tenant's books, all of one snapshot. Reads the whole ledger; never waits for a writer."""
        ...


class Watchers(Protocol):
    """Who is told how the books stand."""

    def books(self, books: Sequence[Books]) -> None:
        """Show every tenant's books as they are now, and say aloud what is off."""
        ...


async def check_books(*, bookkeeping: Bookkeeping, watchers: Watchers) -> None:
    """Compare every tenant's books once and tell; Unavailable when they cannot be read."""
    watchers.books(await bookkeeping.books())
