"""Reads a price book, strictly: a mistake is named by its place, and stops the start.

    prices:
      version: "2026-11"                # goes into every cost row
      account: {id: headrace, name: Headrace}
      rates:
        - model: smollm2-135m-instruct
          from: 2026-01-01              # UTC, inclusive, until the model's next rate
          per_million: {input_tokens: "0.04", output_tokens: "0.12"}

What else there is (tiers, hours, prompt sizes, contracts, currencies, machines) stands in docs/price-book.md. The
built-in book (prices.yaml beside this file) holds where there is no other.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from headrace_meter import price_fields as fields
from headrace_meter.contracts import Contract
from headrace_meter.marked_yaml import MarkedYaml
from headrace_meter.price_entries import contract_of, exchange_of, machines_of, rate_of
from headrace_meter.price_fields import InvalidPrices
from headrace_meter.prices import PriceList

_KEYS = {"version", "account", "currency", "rates", "machines", "exchange", "contracts"}


def read_price_file(path: Path, *, currency: str) -> PriceList:
    """Read a file that has a `prices` section and may have others; InvalidPrices names file, line, key and problem."""
    return read_price_text(path.read_text(encoding="utf-8"), str(path), currency=currency)


def read_price_text(text: str, name: str, *, currency: str) -> PriceList:
    """Read a text that has a `prices` section; InvalidPrices names it as `name`, with line, key and problem."""
    try:
        marked = MarkedYaml.read(text)
    except yaml.YAMLError as error:
        raise InvalidPrices(name, str(error)) from None
    if not isinstance(marked.document, Mapping) or not marked.document.get("prices"):
        raise InvalidPrices(name, "it needs a prices section")
    try:
        return read_prices(marked.document["prices"], currency=currency)
    except InvalidPrices as error:
        raise InvalidPrices(f"{name}:{marked.line(error.place)}", str(error)) from None


def read_prices(section: Mapping[str, Any], *, currency: str) -> PriceList:
    """Read a `prices` section (the built-in one when empty); InvalidPrices names what is wrong and where.

    `currency` is the ledger's, and that of prices where neither they nor the section name one.
    """
    declared = fields.mapping(section or _built_in(), "prices", allowed=_KEYS)
    account = fields.mapping(declared.get("account") or {}, "prices.account", allowed={"id", "name"})
    account_id = fields.text(account.get("id", "headrace"), "prices.account.id")
    quoted_in = fields.currency(declared.get("currency", currency), "prices.currency")
    machines = machines_of(declared.get("machines"))
    rates = fields.entries(declared.get("rates"), "prices.rates")
    if not rates:
        raise InvalidPrices("prices.rates", "a list of rates is needed")
    prices = PriceList(
        version=fields.text(declared.get("version"), "prices.version"),
        currency=currency,
        rates=tuple(rate_of(entry, place, currency=quoted_in, machines=machines) for entry, place in rates),
        account_id=account_id,
        account_name=fields.text(account.get("name", account_id), "prices.account.name"),
        contracts=tuple(contract_of(*one) for one in fields.entries(declared.get("contracts"), "prices.contracts")),
        exchanges=tuple(exchange_of(*one) for one in fields.entries(declared.get("exchange"), "prices.exchange")),
    )
    _check_repeats(prices)
    _check_contracts(prices.contracts)
    _check_currencies(prices)
    return prices


def built_in_book() -> bytes:
    """Return the book that the package ships, as YAML."""
    return importlib.resources.files("headrace_meter").joinpath("prices.yaml").read_bytes()


def _built_in() -> Mapping[str, Any]:
    section: Mapping[str, Any] = yaml.safe_load(built_in_book())["prices"]
    return section


def _check_repeats(prices: PriceList) -> None:
    named = [("rates", "rate", [(one.model, one.effective_from) for one in prices.rates])]
    named += [("exchange", "exchange rate", [(one.currency, one.effective_from) for one in prices.exchanges])]
    for section, what, keys in named:
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise InvalidPrices(f"prices.{section}[{index}]", f"{key[0]} has another {what} from the same time")


def _check_contracts(contracts: tuple[Contract, ...]) -> None:
    places = {id(one): f"prices.contracts[{index}]" for index, one in enumerate(contracts)}
    ordered = sorted(contracts, key=lambda one: (one.tenant, one.effective_from))
    for earlier, later in pairwise(ordered):
        if earlier.tenant == later.tenant and earlier.holds(later.effective_from):
            problem = f"contract {later.id} of {later.tenant} begins while {earlier.id} holds: give that an until"
            raise InvalidPrices(places[id(later)], problem)


def _check_currencies(prices: PriceList) -> None:
    first: dict[str, datetime] = {}
    for one in prices.exchanges:
        first[one.currency] = min(one.effective_from, first.get(one.currency, one.effective_from))
    for index, rate in enumerate(prices.rates):
        if rate.currency == prices.currency:
            continue
        if rate.currency not in first or first[rate.currency] > rate.effective_from:
            needed = f"what {rate.currency} is worth from {rate.effective_from:%Y-%m-%d} or before"
            problem = f"{rate.model} is in {rate.currency}, the ledger in {prices.currency}"
            raise InvalidPrices(f"prices.rates[{index}].currency", f"{problem}: add to prices.exchange {needed}")
