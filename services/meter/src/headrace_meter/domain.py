"""The ledger's values and rules: usage becomes charges, reservations hold budget until a fact ends them.

Everything here is a value in and a value out. Where it is kept, and that all of one fact is kept at once, is up to the
port `LedgerTransaction`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal

from headrace_meter.budgets import AccountKey, Purpose
from headrace_meter.offers import Part, Price, Terms, UnitPrices
from headrace_meter.prices import REQUESTS, PriceList

Quantities = Mapping[str, int]
_NOTHING: Quantities = MappingProxyType({})

UsageKey = tuple[str, str]
"""A tenant and a usage id of its: another tenant may have chosen the same id."""

UsageStatus = Literal["completed", "failed", "unknown", "cancelled"]
ReservationState = Literal["held", "unknown", "settled", "released"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one attempt used; `usage_id` is the tenant's own. Quantities are disjoint and not negative."""

    usage_id: str
    attempt_id: str
    tenant: str
    operation: str
    model: str
    provider: str
    status: UsageStatus
    quantities: Mapping[str, int]
    started_at: datetime
    ended_at: datetime
    request_id: str = ""
    feature: str = ""
    principal: str = ""
    document: str = ""
    reservation_id: str = ""
    attempt: int = 1
    estimated: bool = False

    @property
    def key(self) -> UsageKey:
        """What names it in the ledger."""
        return (self.tenant, self.usage_id)

    @property
    def purpose(self) -> Purpose:
        """What it was spent for: which budgets count it, in the periods in which the attempt began."""
        return Purpose(
            tenant=self.tenant,
            day=day_of(self.started_at),
            feature=self.feature,
            endpoint=self.operation,
            model=self.model,
            principal=self.principal,
        )


@dataclass(frozen=True, slots=True)
class Charge:
    """One meter of one usage, rated: one row of the ledger and one row on the cost topic.

    `part` counts from 0 where the meter crossed from one tier into the next: each part has its own price.
    """

    usage_id: str
    meter: str
    quantity: int
    price: Price
    cost_picos: int
    currency: str
    price_version: str
    part: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Budget held for one attempt. `held` and `unknown` count against the budgets.

    `held_on` names the budgets' accounts on which it is held besides its tenant's month, whatever is declared later.
    """

    reservation_id: str
    tenant: str
    request_id: str
    period: str
    amount_picos: int
    state: ReservationState = "held"
    held_on: tuple[AccountKey, ...] = ()

    @property
    def accounts(self) -> tuple[AccountKey, ...]:
        """Every account on which it is held, or was."""
        return (AccountKey(self.tenant, self.period), *self.held_on)

    @property
    def holds(self) -> bool:
        """True while the amount is kept back."""
        return self.state in {"held", "unknown"}

    def ended_by(self, status: UsageStatus) -> Reservation:
        """Return the reservation after its attempt's usage: settled, or held as unknown until a correction."""
        return replace(self, state="unknown" if status == "unknown" else "settled")


@dataclass(frozen=True, slots=True)
class RequestProgress:
    """What is known of a request: its outcome's counts (None before the outcome), and what was booked."""

    attempts_expected: int | None = None
    embedding_tokens_expected: int = 0
    attempts_booked: int = 0
    embedding_tokens_booked: int = 0
    attempts_held: int = 0

    @property
    def all_booked(self) -> bool:
        """True when the outcome is known and every attempt that it counts has been booked.

        What is still held then is held for attempts that never started.
        """
        return (
            self.attempts_expected is not None
            and self.attempts_booked >= self.attempts_expected
            and self.embedding_tokens_booked >= self.embedding_tokens_expected
        )

    @property
    def settled(self) -> bool:
        """True when no further cost of the request is to come."""
        return self.all_booked and self.attempts_held == 0


def day_of(moment: datetime) -> str:
    """Name the day in UTC, for example `2026-11-21`."""
    return f"{moment.astimezone(UTC):%Y-%m-%d}"


def period_of(moment: datetime) -> str:
    """Name the month in UTC, for example `2026-11`."""
    return f"{moment.astimezone(UTC):%Y-%m}"


def rate(usage: Usage, prices: PriceList, *, counted: Quantities = _NOTHING) -> tuple[Charge, ...]:
    """Price every meter of a usage as of when its attempt began; ModelUnpriced when one has no price.

    `counted` is what the tenant's month had of each meter of the model before this usage: graduated prices need it.
    An attempt that used nothing chargeable (it failed before the first token) gives one charge of quantity 0 on the
    meter `requests`, so that every attempt stands in the ledger.
    """
    if not any(usage.quantities.values()):
        nothing = Price(REQUESTS, f"{usage.model}@none", UnitPrices(), UnitPrices(), Terms())
        return (_charge(usage, Part(0, nothing), prices),)
    parts = prices.parts(usage.model, usage.quantities, usage.started_at, tenant=usage.tenant, counted=counted)
    numbers: Counter[str] = Counter()
    charges = []
    for part in parts:
        charges.append(_charge(usage, part, prices, number=numbers[part.price.meter]))
        numbers[part.price.meter] += 1
    return tuple(charges)


def _charge(usage: Usage, part: Part, prices: PriceList, *, number: int = 0) -> Charge:
    return Charge(
        usage_id=usage.usage_id,
        meter=part.price.meter,
        quantity=part.quantity,
        price=part.price,
        cost_picos=part.cost_picos,
        currency=prices.currency,
        price_version=prices.version,
        part=number,
    )
