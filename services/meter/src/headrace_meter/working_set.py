"""What one transaction works on: the rows that its facts touch, loaded once, and what is to be kept of them.

It knows no rule. Rules read and change it (booking.py); an adapter loads it and keeps its changes, in one go each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from headrace_meter.accounts import Account
from headrace_meter.budgets import AccountKey, Budget, Purpose, accounts_for
from headrace_meter.charges import Charge
from headrace_meter.domain import (
    GUESSED,
    AttemptKey,
    CountKey,
    Quantities,
    RequestProgress,
    Reservation,
    Usage,
    UsageKey,
)
from headrace_meter.facts import Close, CreditKey, Grant, RequestKey, ReservationKey, Trace, Use


@dataclass(frozen=True, slots=True)
class Booked:
    """What is booked of a request: the attempts by their ids, without embeddings, and the embedding tokens.

    Tokens of a call that failed are not among them: its vectors were nobody's, and no outcome counts them.
    """

    attempts: frozenset[str] = frozenset()
    embedding_tokens: int = 0

    def and_of(self, usage: Usage, charges: Iterable[Charge]) -> Booked:
        """Return it with charges of a usage more."""
        attempts = self.attempts if usage.operation == "embed" else self.attempts | {usage.attempt_id}
        tokens = sum(charge.quantity for charge in charges if charge.meter == "embedding_tokens")
        return Booked(attempts, self.embedding_tokens + (0 if usage.status == "failed" else tokens))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A usage that was guessed or corrected as it was charged, for as long as nothing better is known."""

    usage: Usage
    charges: tuple[Charge, ...]


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
    estimates: dict[UsageKey, Estimate] = field(default_factory=dict)
    corrected: list[Estimate] = field(default_factory=list)
    """Estimates from before that are taken back."""
    counted: dict[CountKey, Counter[str]] = field(default_factory=dict)
    """By how much the months' quantities grow, by meter."""
    crossed: list[Crossing] = field(default_factory=list)
    credits: list[Grant] = field(default_factory=list)


class WorkingSet:
    """Rows by key. `costs` has every usage that is here: what it cost, None while it has no price.

    `booked` is loaded of requests whose outcome is known or comes with these facts, `counts` (what months had by meter)
    for prices with tiers, `estimates` and `known` (how certain it is) of attempts that are used; of others nobody asks.
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
        counts: Mapping[CountKey, Quantities] = MappingProxyType({}),
        estimates: Iterable[Estimate] = (),
        known: Mapping[AttemptKey, int] = MappingProxyType({}),
        credits_: Iterable[CreditKey] = (),
    ) -> None:
        self.changes = Changes()
        self.costs = dict(costs)
        self.outcomes = dict(outcomes)
        self._booked = dict(booked)
        self._counts = counts
        self._estimates: dict[AttemptKey, dict[UsageKey, Estimate]] = {}
        for each in estimates:
            self._estimates.setdefault(each.usage.attempt_key, {})[each.usage.key] = each
        self._known = dict(known)
        self.credits = set(credits_)
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

    def counted(self, usage: Usage) -> Quantities:
        """Return what the usage's month had of its model so far, by meter; only where it was wanted."""
        return Counter(self._counts.get(usage.count_key, {})) + self.changes.counted.get(usage.count_key, Counter())

    def save_account(self, account: Account) -> None:
        """Change an account."""
        self._accounts[account.key] = self.changes.accounts[account.key] = account

    def save_reservation(self, reservation: Reservation) -> None:
        """Add or change a reservation."""
        self._place(reservation)
        self.changes.reservations[reservation.tenant, reservation.reservation_id] = reservation

    def add_charged(self, use: Use) -> None:
        """Take a usage's charges; also those that take back what an estimate was charged."""
        usage = use.usage
        self.changes.charged.append(use)
        self.costs[use.key] = (self.costs.get(use.key) or 0) + use.cost_picos
        counted = self.changes.counted.setdefault(usage.count_key, Counter())
        for charge in use.charges:
            counted[charge.meter] += charge.quantity
        request = (usage.tenant, usage.request_id)
        self._booked[request] = self._booked.get(request, Booked()).and_of(usage, use.charges)

    def estimates(self, attempt: AttemptKey) -> list[Estimate]:
        """Return what was charged for an attempt as long as nothing better was known; only where it was wanted."""
        return list(self._estimates.get(attempt, {}).values())

    def certainty(self, attempt: AttemptKey) -> int:
        """Return how certain it is by what is booked what an attempt used; only where it was wanted."""
        return self._known.get(attempt, GUESSED)

    def add_estimate(self, estimate: Estimate) -> None:
        """Remember what a provisional usage was charged."""
        self._estimates.setdefault(estimate.usage.attempt_key, {})[estimate.usage.key] = estimate
        self.changes.estimates[estimate.usage.key] = estimate

    def know(self, attempt: AttemptKey, certainty: int) -> None:
        """Note that it is booked what an attempt used indeed: nothing less certain stands any more."""
        self._known[attempt] = max(certainty, self.certainty(attempt))
        of_attempt = self._estimates.get(attempt, {})
        for key in [key for key, one in of_attempt.items() if one.usage.certainty < certainty]:
            estimate = of_attempt.pop(key)
            if not self.changes.estimates.pop(key, None):
                self.changes.corrected.append(estimate)

    def add_unrated(self, use: Use) -> None:
        """Take a usage that has no price."""
        self.changes.unrated.append(use)
        self.costs[use.key] = None

    def add_outcome(self, close: Close) -> None:
        """Take a request's outcome."""
        self.changes.outcomes.append(close)
        self.outcomes[close.key] = Outcome(close.attempts, close.embedding_tokens)

    def add_credit(self, grant: Grant) -> None:
        """Take a credit."""
        self.changes.credits.append(grant)
        self.credits.add(grant.key)

    def _place(self, reservation: Reservation) -> None:
        self._reservations[reservation.tenant, reservation.reservation_id] = reservation
        of_request = self._by_request.setdefault((reservation.tenant, reservation.request_id), {})
        of_request[reservation.reservation_id] = reservation
