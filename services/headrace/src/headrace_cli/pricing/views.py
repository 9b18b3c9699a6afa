"""What the commands about prices print: rates, one model's prices, comparisons; for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from headrace_meter.money import millionths_text, plain
from headrace_meter.prices import PriceList
from headrace_meter.rates import Rate
from headrace_meter.tiers import Tiers
from rich.table import Table

from headrace_cli.output import table
from headrace_cli.pricing.comparison import Compared
from headrace_cli.pricing.second_source import SecondSource


def rate_as_json(rate: Rate) -> dict[str, Any]:
    """Return a rate for programs; the keys are stable."""
    return {
        "model": rate.model,
        "from": rate.effective_from.isoformat(),
        "currency": rate.currency,
        "machine": rate.machine or None,
        "per_million": {meter: _tiers_as_json(tiers) for meter, tiers in rate.tiers.items()},
        "instead": [
            {
                "when": str(variant.when),
                "per_million": {meter: _tiers_as_json(tiers) for meter, tiers in variant.tiers.items()},
            }
            for variant in rate.variants
        ],
    }


def rates_table(rates: Sequence[Rate]) -> Table:
    """Return a line a rate, and one a condition under which it differs."""
    shown = table("model", "from", "when", "currency", "per million")
    for rate in rates:
        shown.add_row(rate.model, f"{rate.effective_from:%Y-%m-%d}", "", rate.currency, _prices(rate.tiers))
        for variant in rate.variants:
            shown.add_row("", "", str(variant.when), "", _prices(variant.tiers))
    return shown


def paid_as_json(model: str, parts: Sequence[Any], prices: PriceList) -> dict[str, Any]:
    """Return what a tenant pays for each meter, a million, in the ledger's currency."""
    return {
        "model": model,
        "currency": prices.currency,
        "price_version": prices.version,
        "rate": parts[0].price.rate_id,
        "contract": parts[0].price.terms.contract or None,
        "meters": {
            part.price.meter: {
                "list": millionths_text(part.price.unit.listed),
                "contracted": millionths_text(part.price.unit.contracted),
                "effective": millionths_text(part.price.unit.effective),
            }
            for part in parts
        },
    }


def paid_table(paid: dict[str, Any]) -> Table:
    """Return the same for people."""
    shown = table("meter", "list", "contracted", f"effective ({paid['currency']} a million)")
    for meter, price in paid["meters"].items():
        shown.add_row(meter, price["list"], price["contracted"], price["effective"])
    return shown


def comparison_table(compared: Sequence[Compared], second: SecondSource, threshold: Decimal) -> Table:
    """Return every price in both sources; what is further apart than the threshold is marked."""
    shown = table("model", "meter", "genai-prices", second.name, "apart")
    for one in compared:
        apart = one.apart_percent
        mark = " !" if one.disagrees(threshold) else ""
        theirs = "unknown" if one.second is None else plain(one.second)
        shown.add_row(one.model, one.meter, plain(one.first), theirs, "-" if apart is None else f"{apart:.2f}%{mark}")
    return shown


def _prices(schedule: Any) -> str:
    return ", ".join(f"{meter} {_tiers(tiers)}" for meter, tiers in schedule.items())


def _tiers(tiers: Tiers) -> str:
    return " then ".join(
        millionths_text(tier.micros) + (f" up to {tier.up_to}" if tier.up_to else "") for tier in tiers
    )


def _tiers_as_json(tiers: Tiers) -> Any:
    if len(tiers) == 1:
        return millionths_text(tiers[0].micros)
    return [{"up_to": tier.up_to, "price": millionths_text(tier.micros)} for tier in tiers]
