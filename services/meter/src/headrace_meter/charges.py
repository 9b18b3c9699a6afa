"""Usage becomes charges, one a meter and price; and what takes charges back.

A charge is a value that never changes. What it is booked on, and that all of a usage is booked at once, is up to
`booking`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from headrace_meter.domain import Quantities, Usage
from headrace_meter.offers import Part, Price, Terms, UnitPrices
from headrace_meter.prices import REQUESTS, PriceList

_NOTHING: Quantities = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Charge:
    """One meter of one usage, rated: one row of the ledger and one row on the cost topic.

    `part` counts from 0 where the meter crossed from one tier into the next: each part has its own price. `counted` is
    what the month had before, where tiers decided. A correction either takes back (`takes_back` is the part whose
    negative it is), or is what was used indeed.
    """

    usage_id: str
    meter: str
    quantity: int
    price: Price
    cost_picos: int
    currency: str
    price_version: str
    part: int = 0
    counted: int | None = None
    correction: bool = False
    takes_back: int | None = None


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
    position = Counter(counted)
    charges = []
    for part in parts:
        meter = part.price.meter
        before = position[meter] if part.price.terms.tier else None
        charges.append(_charge(usage, part, prices, number=numbers[meter], counted=before))
        numbers[meter] += 1
        position[meter] += part.quantity
    return tuple(charges)


def taken_back(charges: Sequence[Charge]) -> tuple[Charge, ...]:
    """Return what takes charges back: each at its own price, so that both are nothing together, to the last digit."""
    parts = Counter(charge.meter for charge in charges)
    return tuple(
        replace(
            charge,
            quantity=-charge.quantity,
            cost_picos=-charge.cost_picos,
            part=charge.part + parts[charge.meter],
            correction=True,
            takes_back=charge.part,
        )
        for charge in charges
        if charge.quantity
    )


def place_of(charges: Sequence[Charge]) -> Quantities:
    """Return where in their month graduated charges begin, by meter."""
    return {charge.meter: charge.counted for charge in reversed(charges) if charge.counted is not None}


def _charge(usage: Usage, part: Part, prices: PriceList, *, number: int = 0, counted: int | None = None) -> Charge:
    return Charge(
        usage_id=usage.usage_id,
        meter=part.price.meter,
        quantity=part.quantity,
        price=part.price,
        cost_picos=part.cost_picos,
        currency=prices.currency,
        price_version=prices.version,
        part=number,
        counted=counted,
    )
