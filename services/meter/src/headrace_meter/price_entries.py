"""Reads the entries of a price book: rates with their variants, contracts, exchange rates, machines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace_meter import price_fields as fields
from headrace_meter.conditions import ALL_DAYS, DAYS, Condition, Hours
from headrace_meter.contracts import Contract, Exchange
from headrace_meter.money import rounded_price
from headrace_meter.price_fields import InvalidPrices
from headrace_meter.rates import METERS, Rate, Variant
from headrace_meter.tiers import Tier, Tiers, flat

_RATE_KEYS = {"model", "from", "currency", "per_million", "instead", "machine", "seconds_per_thousand"}
_CONTRACT_KEYS = {"id", "tenant", "from", "until", "discount_percent", "rebate_percent", "prices"}
_HOUR_S = 3600
_MICROSECONDS = 10**6

Machines = Mapping[str, int]
"""What an hour of each costs, in micros."""


def machines_of(declared: object) -> Machines:
    """Read `machines`: a name and what an hour costs."""
    named = declared if isinstance(declared, Mapping) else {}
    place = "prices.machines"
    named = fields.mapping(declared or {}, place, allowed=set(map(str, named)))
    return {name: _per_hour(entry, f"{place}.{name}") for name, entry in named.items()}


def rate_of(entry: Any, place: str, *, currency: str, machines: Machines) -> Rate:
    """Read one of `rates`; its prices stand there, or follow from what a machine's time costs."""
    fields.mapping(entry, place, allowed=_RATE_KEYS)
    if ("per_million" in entry) == ("seconds_per_thousand" in entry):
        raise InvalidPrices(place, "it needs per_million (prices), or else machine with seconds_per_thousand (tokens)")
    tiers = _per_million(entry["per_million"], place) if "per_million" in entry else _rate_card(entry, place, machines)
    variants = fields.entries(entry.get("instead"), f"{place}.instead")
    return Rate(
        model=fields.text(entry.get("model"), f"{place}.model"),
        effective_from=fields.moment(entry.get("from"), f"{place}.from"),
        tiers=tiers,
        currency=fields.currency(entry.get("currency", currency), f"{place}.currency"),
        variants=tuple(_variant(variant, at) for variant, at in variants),
        machine=str(entry.get("machine", "")),
    )


def contract_of(entry: Any, place: str) -> Contract:
    """Read one of `contracts`."""
    fields.mapping(entry, place, allowed=_CONTRACT_KEYS)
    begin = fields.moment(entry.get("from"), f"{place}.from")
    until = fields.moment(entry["until"], f"{place}.until") if entry.get("until") else None
    if until and until <= begin:
        raise InvalidPrices(f"{place}.until", "it is not after from: it is the first moment without the contract")
    prices: dict[tuple[str, str], Tiers] = {}
    for priced, at in fields.entries(entry.get("prices"), f"{place}.prices"):
        fields.mapping(priced, at, allowed={"model", "per_million"})
        model = fields.text(priced.get("model"), f"{at}.model")
        prices |= {(model, meter): tiers for meter, tiers in _per_million(priced.get("per_million"), at).items()}
    return Contract(
        id=fields.text(entry.get("id"), f"{place}.id"),
        tenant=fields.text(entry.get("tenant"), f"{place}.tenant"),
        effective_from=begin,
        until=until,
        discount=fields.steps(entry.get("discount_percent", 0), f"{place}.discount_percent", decimals=2, most=100),
        rebate=fields.steps(entry.get("rebate_percent", 0), f"{place}.rebate_percent", decimals=2, most=100),
        prices=prices,
    )


def exchange_of(entry: Any, place: str) -> Exchange:
    """Read one of `exchange`: what a unit of a currency is worth in the ledger's, from a day on."""
    fields.mapping(entry, place, allowed={"currency", "from", "rate"})
    nanos = fields.steps(entry.get("rate"), f"{place}.rate", decimals=9)
    if not nanos:
        raise InvalidPrices(f"{place}.rate", "a rate is above 0")
    return Exchange(
        currency=fields.currency(entry.get("currency"), f"{place}.currency"),
        effective_from=fields.moment(entry.get("from"), f"{place}.from"),
        nanos=nanos,
    )


def _variant(entry: Any, place: str) -> Variant:
    fields.mapping(entry, place, allowed={"when", "per_million"})
    at = f"{place}.when"
    when = fields.mapping(entry.get("when"), at, allowed={"from", "until", "timezone", "days", "prompt_above_tokens"})
    above = when.get("prompt_above_tokens")
    hours = _hours(when, at) if when.keys() - {"prompt_above_tokens"} else None
    if hours is None and above is None:
        raise InvalidPrices(at, "it needs hours (from, until, timezone), or prompt_above_tokens, or both")
    size = None if above is None else fields.whole(above, f"{at}.prompt_above_tokens")
    return Variant(Condition(hours, size), _per_million(entry.get("per_million"), place))


def _hours(when: Mapping[str, Any], place: str) -> Hours:
    days = when.get("days", list(DAYS))
    if not isinstance(days, list) or not days or set(map(str, days)) - set(DAYS):
        raise InvalidPrices(f"{place}.days", f"a list of {', '.join(DAYS)} is needed")
    return Hours(
        begin=fields.clock(when.get("from"), f"{place}.from"),
        end=fields.clock(when.get("until"), f"{place}.until"),
        zone=fields.zone(when.get("timezone"), f"{place}.timezone"),
        days=ALL_DAYS if "days" not in when else frozenset(DAYS.index(day) for day in days),
    )


def _per_million(prices: Any, place: str) -> Mapping[str, Tiers]:
    at = f"{place}.per_million"
    fields.mapping(prices, at, allowed=set(METERS))
    if not prices:
        raise InvalidPrices(at, f"at least one meter is needed: {', '.join(METERS)}")
    return {meter: _tiers(price, f"{at}.{meter}") for meter, price in prices.items()}


def _tiers(price: object, place: str) -> Tiers:
    if not isinstance(price, list):
        return flat(fields.micros(price, place))
    made: list[Tier] = []
    for number, (entry, at) in enumerate(fields.entries(price, place), start=1):
        fields.mapping(entry, at, allowed={"up_to", "price"})
        if ("up_to" not in entry) != (number == len(price)):
            raise InvalidPrices(at, "every tier but the last has up_to, the last has none")
        up_to = fields.whole(entry["up_to"], f"{at}.up_to") if "up_to" in entry else None
        if made and up_to is not None and up_to <= (made[-1].up_to or 0):
            raise InvalidPrices(f"{at}.up_to", "tiers ascend: it must be above that of the tier before")
        made.append(Tier(fields.micros(entry.get("price"), f"{at}.price"), up_to))
    if not made:
        raise InvalidPrices(place, "a price or a list of tiers is needed")
    return tuple(made)


def _rate_card(entry: Mapping[str, Any], place: str, machines: Machines) -> Mapping[str, Tiers]:
    """Price a million of a meter: a thousand times the seconds that a thousand takes, at the machine's price."""
    machine, at = fields.text(entry.get("machine"), f"{place}.machine"), f"{place}.seconds_per_thousand"
    if machine not in machines:
        known = ", ".join(machines) or "none is"
        raise InvalidPrices(f"{place}.machine", f"{machine!r} is not declared under prices.machines; declared: {known}")
    seconds = fields.mapping(entry["seconds_per_thousand"], at, allowed=set(METERS))
    if not seconds:
        raise InvalidPrices(at, f"at least one meter is needed: {', '.join(METERS)}")
    return {
        meter: flat(
            rounded_price(
                machines[machine] * 1000 * fields.steps(each, f"{at}.{meter}", decimals=6), _HOUR_S * _MICROSECONDS
            )
        )
        for meter, each in seconds.items()
    }


def _per_hour(entry: Any, place: str) -> int:
    fields.mapping(entry, place, allowed={"per_hour"})
    return fields.steps(entry.get("per_hour"), f"{place}.per_hour", decimals=6)
