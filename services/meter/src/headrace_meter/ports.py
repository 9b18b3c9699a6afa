"""What the use cases need from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from headrace_meter.accounts import Standing
from headrace_meter.booking import Answer
from headrace_meter.budgets import Budget, BudgetChange
from headrace_meter.charges import Charge
from headrace_meter.domain import RequestProgress, Usage, UsageKey
from headrace_meter.facts import Fact, Trace, Wanted
from headrace_meter.working_set import Changes, WorkingSet

Clock = Callable[[], datetime]
"""The time in UTC."""


class LedgerTransaction(Protocol):
    """One transaction: everything that follows from its facts is kept at once, or nothing is."""

    async def first_time(self) -> Sequence[bool]:
        """Take the transaction's deliveries into the inbox; tell of each, in order, whether it was new."""
        ...

    async def load(self, wanted: Wanted) -> WorkingSet:
        """Return the rows that are wanted, as they are until the transaction ends: nobody else changes them."""
        ...

    async def keep(self, changes: Changes) -> None:
        """Keep what changed, and announce it: a cost row for each charge, and the thresholds that were crossed."""
        ...

    async def budgets(self) -> Sequence[Budget]:
        """Return every budget that is declared, of any tenant."""
        ...

    async def declare(
        self, budgets: Sequence[Budget], *, opening: Sequence[Budget], changes: Sequence[BudgetChange]
    ) -> None:
        """Keep these budgets instead of those before, and tell audit of the changes.

        The accounts of the `opening` ones begin with what was spent in their periods so far, and what is held on them.
        """
        ...

    async def unrated(self, usages_max: int, *, after: UsageKey) -> Sequence[Usage]:
        """Return up to `usages_max` unrated usages with keys above `after`, in order of key."""
        ...


Transaction = AbstractAsyncContextManager[LedgerTransaction]
"""Commits on leaving, rolls back on an error."""


class CostRows(Protocol):
    """Makes what is published of charges. It takes longer than to book them, so it is done before their transaction."""

    async def __call__(self, usage: Usage, charges: Sequence[Charge], trace: Trace) -> Sequence[Any]:
        """Return one row a charge, ready to be kept beside it, in the trace of what they follow from."""
        ...


class Post(Protocol):
    """Books a fact of a caller who waits for the answer."""

    async def __call__(self, fact: Fact) -> Answer:
        """Return the answer once it is kept. QuotaExceeded, RequestOver; Overloaded when too many wait."""
        ...


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
    credits_picos: int = 0
    """What was given back within the time asked for; 0 for a request."""


class UsageBook(Protocol):
    """The ledger as it is asked for."""

    async def report(self, selection: Selection, group_by: Sequence[str], *, sums_max: int) -> UsageReport:
        """Sum a selection by groups and meters: at most `sums_max + 1` sums, so that one too many can be seen."""
        ...


@dataclass(frozen=True, slots=True)
class Unknown:
    """A provisional usage whose attempt has no other booked: what it was charged, and what is still held for it."""

    usage: Usage
    cost_picos: int
    reserved_picos: int


class UnknownBook(Protocol):
    """What nobody knows, as it is asked for."""

    async def unknown(self, tenant: str, request_id: str, *, usages_max: int) -> Sequence[Unknown]:
        """Return a tenant's usages (of one request, or all) that are unknown, then those estimated; newest first."""
        ...


class BudgetBook(Protocol):
    """The budgets as they are asked for."""

    async def standings(self, tenant: str, day: str, *, accounts_max: int) -> Sequence[Standing]:
        """Return a tenant's budgets in the periods that the day is in, all of one snapshot.

        Of one that holds for each value by itself, at most `accounts_max` accounts: the fullest.
        """
        ...


class Declared(Protocol):
    """The tenants as they are declared."""

    def check(self, tenant: str) -> None:
        """Raise Refused (unknown_tenant) for a tenant that is not declared."""
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
