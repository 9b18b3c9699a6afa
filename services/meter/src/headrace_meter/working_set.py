"""What one transaction works on: the rows that its facts touch, loaded once, and what is to be kept of them.

It knows no rule. Rules read and change it (booking.py); an adapter loads it and keeps its changes, in one go each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from headrace_meter.accounts import Account
from headrace_meter.budgets import AccountKey, Budget, Purpose, accounts_for
from headrace_meter.domain import RequestProgress, Reservation, Usage, UsageKey
from headrace_meter.facts import Close, RequestKey, ReservationKey, Trace, Use


@dataclass(frozen=True, slots=True)
class Booked:
    """What is booked of a request: the attempts by their ids, without embeddings, and the embedding tokens."""

    attempts: frozenset[str] = frozenset()
    embedding_tokens: int = 0

    def and_of(self, usage: Usage) -> Booked:
        """Return it with one usage more."""
        attempts = self.attempts if usage.operation == "embed" else self.attempts | {usage.attempt_id}
        return Booked(attempts, self.embedding_tokens + usage.quantities.get("embedding_tokens", 0))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a request's outcome counts."""

    attempts: int
    embedding_tokens: int


@dataclass(frozen=True, slots=True)
class Crossing:
    """An account that reached a percentage of its budget, in the trace of what made it so."""

    account: Account
    budget: Budget
    percent: int
    trace: Trace


@dataclass(slots=True)
class Changes:
    """What is to be kept, each in the order of the facts."""

    usages: list[Usage] = field(default_factory=list)
    charged: list[Use] = field(default_factory=list)
    unrated: list[Use] = field(default_factory=list)
    rated: list[UsageKey] = field(default_factory=list)
    """Usages that were unrated and are charged now."""
    outcomes: list[Close] = field(default_factory=list)
    reservations: dict[ReservationKey, Reservation] = field(default_factory=dict)
    accounts: dict[AccountKey, Account] = field(default_factory=dict)
    crossed: list[Crossing] = field(default_factory=list)


class WorkingSet:
    """Rows by key. `costs` has every usage that is here: what it cost, None while it has no price.

    `booked` is loaded of requests whose outcome is known or comes with these facts; of others nobody asks.
    """

    def __init__(
        self,
        *,
        costs: Mapping[UsageKey, int | None],
        reservations: Iterable[Reservation],
        budgets: Iterable[Budget],
        accounts: Iterable[Account],
        outcomes: Mapping[RequestKey, Outcome],
        booked: Mapping[RequestKey, Booked],
    ) -> None:
        self.changes = Changes()
        self.costs = dict(costs)
        self.outcomes = dict(outcomes)
        self._booked = dict(booked)
        self._accounts = {one.key: one for one in accounts}
        self._budgets: dict[str, list[Budget]] = {}
        for budget in budgets:
            self._budgets.setdefault(budget.tenant, []).append(budget)
        self._payers: dict[Purpose, Mapping[AccountKey, Budget | None]] = {}
        self._reservations: dict[ReservationKey, Reservation] = {}
        self._by_request: dict[RequestKey, dict[str, Reservation]] = {}
        for one in reservations:
            self._place(one)

    def account(self, key: AccountKey) -> Account:
        """Return an account; an empty one where there is none."""
        return self._accounts.get(key) or Account(*key)

    def payers(self, purpose: Purpose) -> list[tuple[Account, Budget | None]]:
        """Return every account that counts a purpose, with its budget: first the tenant's month, budget or not."""
        if purpose not in self._payers:
            self._payers[purpose] = accounts_for(purpose, self._budgets.get(purpose.tenant, ()))
        return [(self.account(key), budget) for key, budget in self._payers[purpose].items()]

    def reservation(self, key: ReservationKey) -> Reservation | None:
        """Return a reservation."""
        return self._reservations.get(key)

    def held(self, request: RequestKey) -> list[Reservation]:
        """Return a request's reservations in state `held`."""
        return [one for one in self._by_request.get(request, {}).values() if one.state == "held"]

    def progress(self, request: RequestKey) -> RequestProgress:
        """Return what is known of a request; nothing before its outcome."""
        if (outcome := self.outcomes.get(request)) is None:
            return RequestProgress()
        booked = self._booked.get(request, Booked())
        return RequestProgress(
            attempts_expected=outcome.attempts,
            embedding_tokens_expected=outcome.embedding_tokens,
            attempts_booked=len(booked.attempts),
            embedding_tokens_booked=booked.embedding_tokens,
            attempts_held=len(self.held(request)),
        )

    def save_account(self, account: Account) -> None:
        """Change an account."""
        self._accounts[account.key] = self.changes.accounts[account.key] = account

    def save_reservation(self, reservation: Reservation) -> None:
        """Add or change a reservation."""
        self._place(reservation)
        self.changes.reservations[reservation.tenant, reservation.reservation_id] = reservation

    def add_charged(self, use: Use) -> None:
        """Take a usage's charges."""
        usage = use.usage
        self.changes.charged.append(use)
        self.costs[use.key] = use.cost_picos
        request = (usage.tenant, usage.request_id)
        self._booked[request] = self._booked.get(request, Booked()).and_of(usage)

    def add_unrated(self, use: Use) -> None:
        """Take a usage that has no price."""
        self.changes.unrated.append(use)
        self.costs[use.key] = None

    def add_outcome(self, close: Close) -> None:
        """Take a request's outcome."""
        self.changes.outcomes.append(close)
        self.outcomes[close.key] = Outcome(close.attempts, close.embedding_tokens)

    def _place(self, reservation: Reservation) -> None:
        self._reservations[reservation.tenant, reservation.reservation_id] = reservation
        of_request = self._by_request.setdefault((reservation.tenant, reservation.request_id), {})
        of_request[reservation.reservation_id] = reservation
