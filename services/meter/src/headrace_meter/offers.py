"""One model's prices for one tenant at one moment: list, contracted and effective, in parts where tiers change.

Which rate, variant, contract and exchange rate hold is looked up by `prices`; here they are put together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from headrace_meter.contracts import Contract, Exchange, less
from headrace_meter.money import bounded
from headrace_meter.rates import Rate, Variant
from headrace_meter.tiers import Tiers, segments


@dataclass(frozen=True, slots=True)
class UnitPrices:
    """Micros for a million: as published, as contracted, and as billed."""

    listed: int = 0
    contracted: int = 0
    effective: int = 0

    def converted(self, exchange: Exchange | None) -> UnitPrices:
        """Return them in the ledger's currency."""
        if exchange is None:
            return self
        return UnitPrices(*(exchange.convert(each) for each in (self.listed, self.contracted, self.effective)))


@dataclass(frozen=True, slots=True)
class Terms:
    """How a price came about, for who reads the row; empty or 0 where it does not apply. `tier` counts from 1."""

    tier: int = 0
    condition: str = ""
    contract: str = ""
    machine: str = ""
    currency: str = ""
    exchange_nanos: int = 0


@dataclass(frozen=True, slots=True)
class Price:
    """One meter's price as applied: in the ledger's currency (`unit`), and in that of the book's entry (`quoted`)."""

    meter: str
    rate_id: str
    unit: UnitPrices
    quoted: UnitPrices
    terms: Terms

    @property
    def micros(self) -> int:
        """What is billed for a million."""
        return self.unit.effective


@dataclass(frozen=True, slots=True)
class Part:
    """A quantity that has one price. A meter of a usage has several where it crosses from a tier into the next."""

    quantity: int
    price: Price

    @property
    def cost_picos(self) -> int:
        """What it costs, exactly."""
        return bounded(self.quantity * self.price.micros)


@dataclass(frozen=True, slots=True)
class Offer:
    """What holds for a tenant's attempt with a model. `exchange` is None in the ledger's own currency."""

    rate: Rate
    variant: Variant | None
    contract: Contract | None
    exchange: Exchange | None
    # A meter without tiers has one price: made once, for an offer rates many a usage.
    _prices: dict[str, Price] = field(default_factory=dict, init=False, repr=False, compare=False)

    def parts(self, meter: str, listed: Tiers, quantity: int, *, counted: int) -> Sequence[Part]:
        """Price a quantity above 0 after the `counted` units that the month had before."""
        known = self._prices.get(meter)
        if known is not None:
            return (Part(quantity, known),)
        schedules = self._schedules(meter, listed)
        parts = tuple(self._parts(meter, schedules, quantity, counted=counted))
        if all(len(tiers) == 1 for tiers in schedules):
            self._prices[meter] = parts[0].price
        return parts

    def highest_micros(self, meter: str, listed: Tiers) -> int:
        """Return the highest price that a million is billed at, in whichever tier."""
        highest = max(tier.micros for tier in self._schedules(meter, listed)[-1])
        return self.exchange.convert(highest) if self.exchange else highest

    def _parts(self, meter: str, schedules: tuple[Tiers, ...], quantity: int, *, counted: int) -> Iterator[Part]:
        tiered = any(len(tiers) > 1 for tiers in schedules)
        for segment in segments(schedules, quantity, counted=counted):
            prices = (tiers[number].micros for tiers, number in zip(schedules, segment.tiers, strict=True))
            quoted = UnitPrices(*prices)
            terms = self._terms(tier=segment.tiers[-1] + 1 if tiered else 0)
            yield Part(segment.quantity, Price(meter, self.rate.id, quoted.converted(self.exchange), quoted, terms))

    def _schedules(self, meter: str, listed: Tiers) -> tuple[Tiers, Tiers, Tiers]:
        if self.contract is None:
            return listed, listed, listed
        paid_as = self.rate.paid_as(meter, self.variant)
        contracted = self.contract.contracted(self.rate.model, (meter, paid_as), listed)
        return listed, contracted, less(contracted, self.contract.rebate)

    def _terms(self, *, tier: int) -> Terms:
        return Terms(
            tier=tier,
            condition=str(self.variant.when) if self.variant else "",
            contract=self.contract.id if self.contract else "",
            machine=self.rate.machine,
            currency=self.rate.currency,
            exchange_nanos=self.exchange.nanos if self.exchange else 0,
        )
