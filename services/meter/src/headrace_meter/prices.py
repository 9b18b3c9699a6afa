"""The price list: what a million of each meter costs, for which model, from when on.

A usage is rated by the time at which its attempt began, so a price change never reaches back. How the list is written
in a file is `price_file`'s matter. Models that it does not name have no price: there is no default and no zero.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

from headrace_errors import Refused

from headrace_meter.money import bounded

Meter = Literal["input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "embedding_tokens"]
METERS: tuple[str, ...] = get_args(Meter)

# The meter of the one cost row of an attempt that used nothing chargeable: quantity 0, cost 0, never in a price list.
REQUESTS = "requests"


class ModelUnpriced(Refused):
    """The price list has no price for a meter of a model at that time."""

    default_reason = "model_unpriced"


@dataclass(frozen=True, slots=True)
class Rate:
    """What a model costs from `effective_from` on: micros (10^-6 of the unit) for a million, by meter."""

    model: str
    effective_from: datetime
    micros_per_million: Mapping[str, int]

    @property
    def id(self) -> str:
        """Name the rate: model and day."""
        return f"{self.model}@{self.effective_from:%Y-%m-%d}"


@dataclass(frozen=True, slots=True)
class Price:
    """One meter's price as applied: micros for a million of it, and where that stands."""

    meter: str
    micros: int
    rate_id: str


@dataclass(frozen=True)
class PriceList:
    """Every rate of one version of the list."""

    version: str
    currency: str
    rates: tuple[Rate, ...]
    account_id: str = "headrace"
    account_name: str = "Headrace"
    _by_model: Mapping[str, tuple[Rate, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Sort the rates by model and time."""
        object.__setattr__(self, "_by_model", _by_model(self.rates))

    def price(self, model: str, meter: str, at: datetime) -> Price:
        """Return the price that holds at that time; ModelUnpriced when there is none."""
        rate = self._rate(model, at)
        if meter not in rate.micros_per_million:
            raise ModelUnpriced(f"{rate.id} has no price for {meter}")
        return Price(meter, rate.micros_per_million[meter], rate.id)

    def cost_picos(self, model: str, quantities: Mapping[str, int], at: datetime) -> int:
        """Return what the quantities cost; ModelUnpriced when the model or any meter has no price."""
        self._rate(model, at)  # nothing of an unpriced model is unpriced, too
        return bounded(sum(quantity * self.price(model, meter, at).micros for meter, quantity in quantities.items()))

    def _rate(self, model: str, at: datetime) -> Rate:
        rates = self._by_model.get(model, ())
        position = bisect_right(rates, at, key=lambda rate: rate.effective_from)
        if position == 0:
            raise ModelUnpriced(f"no price for model {model!r} at {at:%Y-%m-%d}")
        return rates[position - 1]


def _by_model(rates: Iterable[Rate]) -> Mapping[str, tuple[Rate, ...]]:
    grouped: dict[str, list[Rate]] = {}
    for rate in sorted(rates, key=lambda rate: (rate.model, rate.effective_from)):
        grouped.setdefault(rate.model, []).append(rate)
    return {model: tuple(group) for model, group in grouped.items()}
