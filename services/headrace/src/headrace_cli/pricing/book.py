"""Writes a price book, and finds the one that holds: the same search as meter's own."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from headrace_meter.offers import Part
from headrace_meter.price_file import read_price_file, read_prices
from headrace_meter.prices import ModelUnpriced, PriceList
from headrace_runtime import Tenants

from headrace_cli.pricing.genai import TakenOver
from headrace_cli.remote import remote_platform
from headrace_cli.supervisor import PlatformFile

PRICES_FILE = "HEADRACE_METER__PRICES_FILE"
BUILT_IN = "the built-in book"


def section_of(taken: Iterable[TakenOver], *, version: str) -> dict[str, Any]:
    """Make a `prices` section of what was taken over; its currency is the dollar, as all that is published there."""
    return {"version": version, "currency": "USD", "rates": [entry for one in taken for entry in one.entries]}


def write_book(path: Path, section: dict[str, Any], *, heading: str) -> None:
    """Write a section as a new file; ValueError where there is one, for people may have worked on it."""
    if path.exists():
        raise ValueError(f"{path} exists: name a new file, and take over from it what you want")
    text = yaml.safe_dump({"prices": section}, sort_keys=False, allow_unicode=True)
    path.write_text(f"# {heading}\n{text}", encoding="utf-8")


def book_in_force(data_dir: Path, file: Path | None) -> tuple[str, PriceList]:
    """Return where the book stands and what is in it: `file`, else the one that meter of this platform reads."""
    tenants_file = _tenants_file(data_dir)
    tenants = Tenants.load(tenants_file)
    own = os.environ.get(PRICES_FILE)
    found = file or (Path(own) if own else tenants_file if tenants.prices else None)
    if found is None:
        return BUILT_IN, read_prices(tenants.prices, currency=tenants.currency)
    return str(found), read_price_file(found, currency=tenants.currency)


def paid_parts(book: PriceList, model: str, at: datetime, *, tenant: str) -> list[Part]:
    """Price one of each meter that the model has a price for at that time; ModelUnpriced where it has none at all."""
    book.parts(model, {}, at)
    meters = {meter for rate in book.rates if rate.model == model for meter in rate.tiers}
    parts: list[Part] = []
    for meter in sorted(meters):
        with suppress(ModelUnpriced):  # another rate of the model has it
            parts.extend(book.parts(model, {meter: 1}, at, tenant=tenant))
    return parts


def _tenants_file(data_dir: Path) -> Path | None:
    state = PlatformFile(data_dir).find()
    if state is None:
        remote = remote_platform()
        return remote[1] if remote else None
    return Path(state.tenants_file) if state.tenants_file else None
