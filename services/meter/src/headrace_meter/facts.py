"""What is booked: holds, ends of holds, usages and outcomes, each complete in itself, and which rows they touch.

Prices and limits are looked up before a fact is booked, and its cost rows are made: a transaction only keeps books.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from headrace_meter.budgets import AccountKey, Purpose
from headrace_meter.charges import Charge
from headrace_meter.domain import GUESSED, TOLD, AttemptKey, Correction, CountKey, Credit, Usage, UsageKey
from headrace_meter.prices import PriceList

ReservationKey = tuple[str, str]
"""A tenant and a reservation id of its."""
RequestKey = tuple[str, str]
"""A tenant and a request id of its."""
CreditKey = tuple[str, str]
"""A tenant and a credit id of its."""
Trace = Mapping[str, str]
"""The W3C trace context (`traceparent`, `tracestate`) that what follows from a fact belongs to; empty for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """An attempt may cost so much at most: it is kept back where every hard budget for its purpose allows."""

    purpose: Purpose
    reservation_id: str
    request_id: str
    amount_picos: int
    trace: Trace = field(default_factory=dict)

    @property
    def tenant(self) -> str:
        """Who pays."""
        return self.purpose.tenant

    @property
    def key(self) -> ReservationKey:
        """What names the reservation."""
        return (self.tenant, self.reservation_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveBack:
    """An attempt did not start: what is held for it is not needed."""

    tenant: str
    reservation_id: str

    @property
    def key(self) -> ReservationKey:
        """What names the reservation."""
        return (self.tenant, self.reservation_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """An attempt used something: rated, with its cost rows as they will be published, or `unpriced` with the reason.

    A price with tiers depends on what the month had before, which is known where it is booked: charges and cost rows
    are made there then, by the book that is in `prices`.
    """

    usage: Usage
    prices: PriceList
    charges: Sequence[Charge] = ()
    cost_rows: Sequence[Any] = ()
    unpriced: str = ""
    trace: Trace = field(default_factory=dict)
    correction: Correction | None = None
    """Who says so, where people do."""

    @property
    def tenant(self) -> str:
        """Who pays."""
        return self.usage.tenant

    @property
    def key(self) -> UsageKey:
        """What names the usage."""
        return self.usage.key

    @property
    def graduated(self) -> bool:
        """True when its charges can only be made where it is booked."""
        return not self.charges and not self.unpriced

    @property
    def cost_picos(self) -> int:
        """What it costs."""
        return sum(charge.cost_picos for charge in self.charges)


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """A request has its outcome, which counts attempts and embedding tokens; it came here `at`."""

    tenant: str
    request_id: str
    attempts: int
    embedding_tokens: int
    at: datetime

    @property
    def key(self) -> RequestKey:
        """What names the request."""
        return (self.tenant, self.request_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Somebody gives a tenant money back."""

    credit: Credit
    trace: Trace = field(default_factory=dict)

    @property
    def tenant(self) -> str:
        """Who gets it."""
        return self.credit.tenant

    @property
    def key(self) -> CreditKey:
        """What names the credit."""
        return self.credit.key


Fact = Hold | GiveBack | Use | Close | Grant


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows facts touch: accounts named here, and those of purposes and of reservations and estimates found."""

    usages: frozenset[UsageKey] = frozenset()
    reservations: frozenset[ReservationKey] = frozenset()
    requests: frozenset[RequestKey] = frozenset()
    closing: frozenset[RequestKey] = frozenset()
    purposes: frozenset[Purpose] = frozenset()
    accounts: frozenset[AccountKey] = frozenset()
    counts: frozenset[CountKey] = frozenset()
    used: frozenset[AttemptKey] = frozenset()
    """Attempts whose open estimates are wanted."""
    guessed: frozenset[AttemptKey] = frozenset()
    """Attempts of which is wanted how certain it is what they used."""
    credits: frozenset[CreditKey] = frozenset()


def wanted_by(facts: Iterable[Fact]) -> Wanted:
    """Return which rows facts touch."""
    usages, reservations, requests, closing, credits_ = (set[tuple[str, str]]() for _ in range(5))
    counts, attempts = set[CountKey](), set[tuple[AttemptKey, int]]()
    purposes: set[Purpose] = set()
    for fact in facts:
        if isinstance(fact, Hold):
            reservations.add(fact.key)
            requests.add((fact.tenant, fact.request_id))
            purposes.add(fact.purpose)
        elif isinstance(fact, GiveBack):
            reservations.add(fact.key)
        elif isinstance(fact, Use):
            usage = fact.usage
            usages.add(fact.key)
            purposes.add(usage.purpose)
            attempts.add((usage.attempt_key, usage.certainty))
            if fact.graduated:
                counts.add(usage.count_key)
            if usage.reservation_id:
                reservations.add((fact.tenant, usage.reservation_id))
            if usage.request_id:
                requests.add((fact.tenant, usage.request_id))
        elif isinstance(fact, Grant):
            credits_.add(fact.key)
        else:
            closing.add(fact.key)
    return Wanted(
        usages=frozenset(usages),
        reservations=frozenset(reservations),
        requests=frozenset(requests | closing),
        closing=frozenset(closing),
        purposes=frozenset(purposes),
        counts=frozenset(counts),
        used=frozenset(key for key, certainty in attempts if certainty > GUESSED),
        guessed=frozenset(key for key, certainty in attempts if certainty < TOLD),
        credits=frozenset(credits_),
    )
