"""A second opinion on prices, from a file: another price book, or the price map that LiteLLM keeps in the open.

The map is model_prices_and_context_window.json (github.com/BerriAI/litellm, in its wheel, too). It is data of a package
of forty megabytes, so it is read as a file and the package is no dependency (docs/adr/0022-price-sources.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from headrace_errors import Refused
from headrace_meter.price_file import read_price_file
from headrace_meter.prices import PriceList
from headrace_meter.rates import PART_OF

from headrace_cli.pricing.genai import Wanted

MILLION = 10**6
# Where the two call a provider differently.
_THEIR_PROVIDERS = {
    "google": "gemini", "x-ai": "xai", "fireworks": "fireworks_ai", "together": "together_ai", "aws": "bedrock",
    "zai": "zai", "moonshotai": "moonshot", "voyageai": "voyage",
}  # fmt: skip
_THEIR_KEYS = {
    "input_tokens": "input_cost_per_token",
    "embedding_tokens": "input_cost_per_token",
    "cached_input_tokens": "cache_read_input_token_cost",
    "output_tokens": "output_cost_per_token",
    "reasoning_tokens": "output_cost_per_reasoning_token",
}


class SecondSource(Protocol):
    """Prices that somebody else published."""

    name: str

    def price(self, wanted: Wanted, meter: str, at: datetime) -> Decimal | None:
        """Return the price of a million in USD; None where this source does not know it."""
        ...


def open_second_source(path: Path) -> SecondSource:
    """Open a price book (YAML) or a price map (JSON); ValueError says what the file is not."""
    if path.suffix != ".json":
        return OtherBook(path.name, read_price_file(path, currency="USD"))
    try:
        document = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(document, dict) or not any("litellm_provider" in entry for entry in document.values()):
        raise ValueError(f"{path} is no price map: entries with litellm_provider and input_cost_per_token are expected")
    return LitellmMap(path.name, document)


class LitellmMap:
    """LiteLLM's price map: today's prices only, for one token each."""

    def __init__(self, name: str, entries: Mapping[str, Mapping[str, Any]]) -> None:
        self.name = name
        self._entries = entries

    def price(self, wanted: Wanted, meter: str, at: datetime) -> Decimal | None:  # noqa: ARG002 - it knows no dates
        """Return the price of a million; a meter without one costs what it is part of."""
        entry = self._entry(wanted)
        own = entry.get(_THEIR_KEYS[meter])
        if own is None and meter in PART_OF:
            own = entry.get(_THEIR_KEYS[PART_OF[meter]])
        return None if own is None else Decimal(own) * MILLION

    def _entry(self, wanted: Wanted) -> Mapping[str, Any]:
        provider = _THEIR_PROVIDERS.get(wanted.provider, wanted.provider)
        found = self._entries.get(f"{provider}/{wanted.model}") or self._entries.get(wanted.model, {})
        return found if str(found.get("litellm_provider", "")).startswith(provider) else {}


class OtherBook:
    """Another price book: the model by its name in the catalogue, at list price."""

    def __init__(self, name: str, prices: PriceList) -> None:
        self.name = name
        self._prices = prices

    def price(self, wanted: Wanted, meter: str, at: datetime) -> Decimal | None:
        """Return the price of a million at that time."""
        try:
            parts = self._prices.parts(wanted.name, {meter: 1}, at)
        except Refused:
            return None
        return Decimal(parts[0].price.unit.listed).scaleb(-6)
