"""Two sources side by side, price by price: how far apart they are, and whether that is too far."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from headrace_meter.money import plain
from headrace_meter.prices import PriceList

from headrace_cli.pricing.genai import TakenOver
from headrace_cli.pricing.second_source import SecondSource


@dataclass(frozen=True, slots=True)
class Compared:
    """One meter's price (a million, USD) in both; `second` is None where the second source does not know it."""

    model: str
    meter: str
    first: Decimal
    second: Decimal | None

    @property
    def apart_percent(self) -> Decimal | None:
        """By how much they differ, of the larger one; None without a second opinion."""
        if self.second is None:
            return None
        larger = max(self.first, self.second)
        return abs(self.first - self.second) * 100 / larger if larger else Decimal(0)

    def disagrees(self, threshold_percent: Decimal) -> bool:
        """Tell whether they are further apart than that."""
        return self.apart_percent is not None and self.apart_percent > threshold_percent

    def as_json(self) -> dict[str, Any]:
        """Return the comparison for programs; the keys are stable."""
        apart = self.apart_percent
        return {
            "model": self.model,
            "meter": self.meter,
            "first": plain(self.first),
            "second": None if self.second is None else plain(self.second),
            "apart_percent": None if apart is None else f"{apart:.2f}",
        }


def compare(taken: Iterable[TakenOver], prices: PriceList, second: SecondSource, *, at: datetime) -> Sequence[Compared]:
    """Compare what was taken over, as the book has it at that time, with a second source: standard prices only."""
    return [
        Compared(
            one.wanted.name, meter, _listed(prices, one.wanted.name, meter, at), second.price(one.wanted, meter, at)
        )
        for one in taken
        for meter in one.entries[0]["per_million"]
    ]


def _listed(prices: PriceList, model: str, meter: str, at: datetime) -> Decimal:
    rate = next(rate for rate in prices.rates if rate.model == model and rate.effective_from <= at)
    return Decimal(rate.tiers[meter][0].micros).scaleb(-6)
