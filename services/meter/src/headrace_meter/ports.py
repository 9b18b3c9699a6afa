"""What the use cases need from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from headrace_meter.domain import Account, Charge, RequestProgress, Reservation, Usage, UsageKey

Clock = Callable[[], datetime]
"""The time in UTC."""


class LedgerTransaction(Protocol):
    """One fact's transaction: everything that follows from it is kept at once, or nothing is."""

    async def first_time(self) -> bool:
        """Take the delivery into the inbox; False when it was there already. A call without an event is always new."""
        ...

    async def has_usage(self, key: UsageKey) -> bool:
        """Tell whether the usage was booked or kept as unrated, by whichever way it came."""
        ...

    async def cost_picos(self, key: UsageKey) -> int | None:
        """Return what a booked usage cost; None for one without a price, or not here."""
        ...

    async def add_usage(self, usage: Usage) -> None:
        """Keep a usage that is not here yet."""
        ...

    async def add_charges(self, usage: Usage, charges: Sequence[Charge]) -> None:
        """Book the charges of a usage that is here, and announce a cost row for each."""
        ...

    async def add_unrated(self, key: UsageKey, reason: str) -> None:
        """Note that a usage that is here has no price, to be rated later."""
        ...

    async def take_unrated(self, usages_max: int, *, after: UsageKey) -> Sequence[Usage]:
        """Return up to `usages_max` unrated usages with keys above `after`, in order of key."""
        ...

    async def drop_unrated(self, key: UsageKey) -> None:
        """Forget that a usage is unrated: it is being booked in this transaction."""
        ...

    async def account(self, tenant: str, period: str) -> Account:
        """Return a tenant's month, locked until the transaction ends."""
        ...

    async def save_account(self, account: Account, limit_picos: int | None, crossed: Sequence[int]) -> None:
        """Keep a month, and announce the thresholds (in percent) that it crossed."""
        ...

    async def reservation(self, tenant: str, reservation_id: str) -> Reservation | None:
        """Return a reservation."""
        ...

    async def held_reservations(self, tenant: str, request_id: str) -> Sequence[Reservation]:
        """Return a request's reservations in state `held`."""
        ...

    async def save_reservation(self, reservation: Reservation) -> None:
        """Insert or replace a reservation."""
        ...

    async def progress(self, tenant: str, request_id: str) -> RequestProgress:
        """Return what is known of a request; nothing before its outcome."""
        ...

    async def add_outcome(
        self, tenant: str, request_id: str, *, attempts: int, embedding_tokens: int, at: datetime
    ) -> None:
        """Keep what a request's outcome counts, and when it came; the first one stays."""
        ...


Transaction = AbstractAsyncContextManager[LedgerTransaction]
"""Commits on leaving, rolls back on an error."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which usage to sum: a tenant's, of one request or all, begun in [since, before)."""

    tenant: str
    request_id: str = ""
    since: datetime | None = None
    before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Sum:
    """One group's sum over one meter; `group` holds the values of the names asked for, in that order."""

    group: tuple[str, ...]
    meter: str
    quantity: int
    cost_picos: int


@dataclass(frozen=True, slots=True)
class UsageReport:
    """The answer to a question about usage, all of one snapshot."""

    sums: Sequence[Sum]
    usages: int
    reserved_picos: int
    progress: RequestProgress


class UsageBook(Protocol):
    """The ledger as it is asked for."""

    async def report(self, selection: Selection, group_by: Sequence[str], *, sums_max: int) -> UsageReport:
        """Sum a selection by groups and meters: at most `sums_max + 1` sums, so that one too many can be seen."""
        ...


class Budgets(Protocol):
    """The declared budgets."""

    def limit_picos(self, tenant: str) -> int | None:
        """Return a tenant's monthly limit, None for no limit; Refused (unknown_tenant) when it is not declared."""
        ...

    def limit_picos_if_known(self, tenant: str) -> int | None:
        """Return a tenant's monthly limit, None for no limit or when the tenant is not declared."""
        ...


class Observed(Protocol):
    """What the operators are told, besides the ledger."""

    def rated(self, model: str, cost_picos: int) -> None:
        """Count a usage that was booked."""
        ...

    def unrated(self, usage: Usage, reason: str) -> None:
        """Raise an alert: a usage is kept without a price, and admission should have refused the model."""
        ...


Quantities = Mapping[str, int]
