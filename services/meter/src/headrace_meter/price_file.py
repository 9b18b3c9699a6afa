"""Reads the `prices` section of the tenants file, strictly: a mistake is named by its place and stops the start.

    prices:
      version: "2026-11"                # goes into every cost row
      account: {id: headrace, name: Headrace}
      rates:
        - model: smollm2-135m-instruct
          from: 2026-01-01              # UTC, inclusive, until the model's next rate
          per_million: {input_tokens: "0.04", output_tokens: "0.12"}

The built-in list (prices.yaml beside this file) holds where the tenants file has no such section.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Any

import yaml

from headrace_meter.money import decimal_of, micros_of
from headrace_meter.prices import METERS, PriceList, Rate


class InvalidPrices(ValueError):
    """The price list cannot be used; the text names the place."""


def read_prices(section: Mapping[str, Any], *, currency: str) -> PriceList:
    """Read a `prices` section (the built-in one when empty); InvalidPrices names what is wrong and where."""
    declared = section or _built_in()
    _only(declared, {"version", "account", "rates"}, "prices")
    account = declared.get("account") or {}
    _only(account, {"id", "name"}, "prices.account")
    entries = declared.get("rates")
    if not isinstance(entries, list) or not entries:
        raise InvalidPrices("prices.rates: a list of rates is needed")
    rates = tuple(_rate(entry, f"prices.rates[{index}]") for index, entry in enumerate(entries))
    _no_repeats(rates)
    account_id = _text(account.get("id", "headrace"), "prices.account.id")
    return PriceList(
        version=_text(declared.get("version"), "prices.version"),
        currency=currency,
        rates=rates,
        account_id=account_id,
        account_name=_text(account.get("name", account_id), "prices.account.name"),
    )


def _built_in() -> Mapping[str, Any]:
    text = importlib.resources.files("headrace_meter").joinpath("prices.yaml").read_text(encoding="utf-8")
    section: Mapping[str, Any] = yaml.safe_load(text)["prices"]
    return section


def _rate(entry: Any, place: str) -> Rate:
    _only(entry, {"model", "from", "per_million"}, place)
    prices = entry.get("per_million")
    _only(prices, set(METERS), f"{place}.per_million")
    if not prices:
        raise InvalidPrices(f"{place}.per_million: at least one meter is needed")
    return Rate(
        model=_text(entry.get("model"), f"{place}.model"),
        effective_from=_moment(entry.get("from"), f"{place}.from"),
        micros_per_million={meter: _micros(price, f"{place}.per_million.{meter}") for meter, price in prices.items()},
    )


def _micros(price: object, place: str) -> int:
    try:
        micros = micros_of(decimal_of(price))
    except ValueError as error:
        raise InvalidPrices(f"{place}: {error}") from None
    if micros < 0:
        raise InvalidPrices(f"{place}: a price is not negative")
    return micros


def _moment(value: object, place: str) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise InvalidPrices(f"{place}: {value!r} is neither a date nor a time (RFC 3339)") from None
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    raise InvalidPrices(f"{place}: a date is needed")


def _text(value: object, place: str) -> str:
    if not isinstance(value, str) or not value:
        # YAML reads null, no and 2026 as something else than text.
        raise InvalidPrices(f"{place}: a text is needed, quoted where YAML would read {value!r}")
    return value


def _only(value: object, allowed: set[str], place: str) -> None:
    if not isinstance(value, Mapping):
        raise InvalidPrices(f"{place}: a mapping is needed")
    if unknown := set(map(str, value)) - allowed:
        raise InvalidPrices(f"{place}: {', '.join(sorted(unknown))} not known; allowed: {', '.join(sorted(allowed))}")


def _no_repeats(rates: tuple[Rate, ...]) -> None:
    seen: set[tuple[str, datetime]] = set()
    for index, rate in enumerate(rates):
        if (rate.model, rate.effective_from) in seen:
            raise InvalidPrices(f"prices.rates[{index}]: {rate.model} has another rate from the same time")
        seen.add((rate.model, rate.effective_from))
