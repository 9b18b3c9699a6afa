"""What a tenant's contract makes of a list price, and what another currency's price is in the ledger's.

Both only make unit prices. A computed one is rounded to a micro, half to even, and is at least one: a price becomes 0
by a reduction of 100 percent only, never by rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from headrace_meter.money import rounded_price
from headrace_meter.tiers import Tier, Tiers

WHOLE = 10_000  # hundredths of a percent
RATE_STEPS = 10**9  # an exchange rate's smallest step is 10^-9


@dataclass(frozen=True, slots=True)
class Contract:
    """A tenant's prices from `effective_from` until before `until` (None: for ever).

    Contracted is a price of `prices` (model, meter; in the currency of that model's list price), else list less
    `discount`. Effective, which is what is billed, is contracted less `rebate`. Both in hundredths of a percent.
    """

    id: str
    tenant: str
    effective_from: datetime
    until: datetime | None = None
    discount: int = 0
    rebate: int = 0
    prices: Mapping[tuple[str, str], Tiers] = field(default_factory=dict)

    def holds(self, at: datetime) -> bool:
        """Tell whether the contract is in force."""
        return self.effective_from <= at and (self.until is None or at < self.until)

    def contracted(self, model: str, meters: Sequence[str], listed: Tiers) -> Tiers:
        """Return the contracted prices of a meter: of the first of `meters`, itself and what it is paid as."""
        own = (self.prices[model, meter] for meter in meters if (model, meter) in self.prices)
        return next(own, None) or less(listed, self.discount)


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a unit of `currency` is worth in the ledger's currency from then on, in steps of 10^-9."""

    currency: str
    effective_from: datetime
    nanos: int

    def convert(self, micros: int) -> int:
        """Return a price in the ledger's currency."""
        return rounded_price(micros * self.nanos, RATE_STEPS)


def less(tiers: Tiers, reduction: int) -> Tiers:
    """Take hundredths of a percent off every tier."""
    if not reduction:
        return tiers
    return tuple(Tier(rounded_price(tier.micros * (WHOLE - reduction), WHOLE), tier.up_to) for tier in tiers)
