"""The price book: what a million of each meter costs, for which model and tenant, from when on.

A usage is rated by the time at which its attempt began, so a price change never reaches back. How the book is written
in a file is `price_file`'s matter. Models that it does not name have no price: there is no default and no zero.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TypeVar

from headrace_errors import Refused

from headrace_meter.contracts import Contract, Exchange
from headrace_meter.money import bounded
from headrace_meter.offers import Offer, Part
from headrace_meter.rates import Rate, Variant, may_be, prompt_tokens
from headrace_meter.tiers import Tiers

# The meter of the one cost row of an attempt that used nothing chargeable: quantity 0, cost 0, never in a price book.
REQUESTS = "requests"

# How long after its reservation an attempt may begin at prices that were held: far above any request's deadline.
HOLD_AHEAD = timedelta(hours=1)

_NOTHING: Mapping[str, int] = MappingProxyType({})
Dated = TypeVar("Dated", Rate, Contract, Exchange)


class ModelUnpriced(Refused):
    """The price book has no price for a meter of a model at that time."""

    default_reason = "model_unpriced"


@dataclass(frozen=True)
class PriceList:
    """Every rate, contract and exchange rate of one version of the book; amounts are in `currency`, the ledger's."""

    version: str
    currency: str
    rates: tuple[Rate, ...]
    account_id: str = "headrace"
    account_name: str = "Headrace"
    contracts: tuple[Contract, ...] = ()
    exchanges: tuple[Exchange, ...] = ()
    _rates: Mapping[str, tuple[Rate, ...]] = field(init=False, repr=False, compare=False)
    _contracts: Mapping[str, tuple[Contract, ...]] = field(init=False, repr=False, compare=False)
    _exchanges: Mapping[str, tuple[Exchange, ...]] = field(init=False, repr=False, compare=False)
    _offers: dict[tuple[int, ...], Offer] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Sort by whom or what each is for, and by time."""
        object.__setattr__(self, "_rates", _by_time((one.model, one) for one in self.rates))
        object.__setattr__(self, "_contracts", _by_time((one.tenant, one) for one in self.contracts))
        object.__setattr__(self, "_exchanges", _by_time((one.currency, one) for one in self.exchanges))

    @property
    def tiered(self) -> bool:
        """True when any price depends on the month's quantity so far."""
        schedules = [rate.tiers for rate in self.rates]
        schedules += [variant.tiers for rate in self.rates for variant in rate.variants]
        tiers = [each for schedule in schedules for each in schedule.values()]
        tiers += [each for contract in self.contracts for each in contract.prices.values()]
        return any(len(each) > 1 for each in tiers)

    def parts(
        self,
        model: str,
        quantities: Mapping[str, int],
        at: datetime,
        *,
        tenant: str = "",
        counted: Mapping[str, int] = _NOTHING,
    ) -> tuple[Part, ...]:
        """Price the quantities of one attempt, in order of meter; ModelUnpriced when one has no price.

        `counted` is what the tenant's month had of each meter of the model before (see `tiers`); a quantity of 0 makes
        no part. Without a tenant, or for one without a contract, list prices are paid.
        """
        rate = self._rate(model, at)  # nothing of an unpriced model is unpriced, too
        offer = self._offer(rate, rate.variant(at, prompt_tokens(quantities)), tenant, at)
        found: list[Part] = []
        for meter, quantity in sorted(quantities.items()):
            if quantity:
                listed = _listed(rate, offer.variant, meter)
                found.extend(offer.parts(meter, listed, quantity, counted=counted.get(meter, 0)))
        return tuple(found)

    def cost_picos(self, model: str, quantities: Mapping[str, int], at: datetime, *, tenant: str = "") -> int:
        """Return what the quantities cost as the first of a month; ModelUnpriced when the model or a meter has none."""
        return bounded(sum(part.cost_picos for part in self.parts(model, quantities, at, tenant=tenant)))

    def hold_picos(self, model: str, quantities: Mapping[str, int], at: datetime, *, tenant: str) -> int:
        """Return the most that the quantities can cost the tenant if their attempt begins within HOLD_AHEAD.

        Whichever tier the month is in, at whatever hour it begins, however large its prompt turns out, whatever of it
        was cached or reasoned, and under each rate, contract and exchange rate that begins or ends meanwhile: it is
        what a budget holds.
        """
        offers = [
            self._offer(rate, variant, tenant, moment)
            for moment in self._moments(model, tenant, at)
            for rate in (self._rate(model, moment),)
            for variant in (None, *rate.variants)
        ]
        return bounded(
            sum(
                quantity
                * max(
                    offer.highest_micros(kind, _listed(offer.rate, offer.variant, kind))
                    for offer in offers
                    for kind in may_be(meter)
                )
                for meter, quantity in quantities.items()
                if quantity
            )
        )

    def _moments(self, model: str, tenant: str, at: datetime) -> list[datetime]:
        """Return the moment, and those within HOLD_AHEAD of it at which a price may become another."""
        changes = [rate.effective_from for rate in self._rates.get(model, ())]
        changes += [exchange.effective_from for exchange in self.exchanges]
        for contract in self._contracts.get(tenant, ()):
            changes += [contract.effective_from, *([contract.until] if contract.until else [])]
        return [at, *(change for change in changes if at < change <= at + HOLD_AHEAD)]

    def _offer(self, rate: Rate, variant: Variant | None, tenant: str, at: datetime) -> Offer:
        contract = _latest(self._contracts.get(tenant, ()), at)
        if contract and not contract.holds(at):
            contract = None
        exchange = None
        if rate.currency != self.currency:
            exchange = _latest(self._exchanges.get(rate.currency, ()), at)
            if exchange is None:
                worth = f"{rate.currency} without a rate to {self.currency}"
                raise ModelUnpriced(f"{rate.id} is in {worth} at {at:%Y-%m-%d}")
        # By identity: all of them are entries of this book, which sets how many offers there can be.
        key = (id(rate), id(variant), id(contract), id(exchange))
        if key not in self._offers:
            self._offers[key] = Offer(rate, variant, contract, exchange)
        return self._offers[key]

    def _rate(self, model: str, at: datetime) -> Rate:
        rate = _latest(self._rates.get(model, ()), at)
        if rate is None:
            raise ModelUnpriced(f"no price for model {model!r} at {at:%Y-%m-%d}")
        return rate


def _listed(rate: Rate, variant: Variant | None, meter: str) -> Tiers:
    listed = rate.listed(meter, variant)
    if listed is None:
        raise ModelUnpriced(f"{rate.id} has no price for {meter}")
    return listed


def _latest(dated: tuple[Dated, ...], at: datetime) -> Dated | None:
    position = bisect_right(dated, at, key=lambda one: one.effective_from)
    return dated[position - 1] if position else None


def _by_time(named: Iterable[tuple[str, Dated]]) -> Mapping[str, tuple[Dated, ...]]:
    grouped: dict[str, list[Dated]] = {}
    for name, one in named:
        grouped.setdefault(name, []).append(one)
    return {name: tuple(sorted(group, key=lambda one: one.effective_from)) for name, group in grouped.items()}
