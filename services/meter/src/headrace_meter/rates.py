"""A model's published prices: by meter, from a day on, with other prices at certain hours or prompt sizes.

Meters never overlap: a token is input or cached input, output or reasoning, and is counted once. What a provider calls
"prompt tokens, of which cached" has been taken apart before it comes here. Cached input and reasoning cost what any
input and output do where a rate has no price of their own for them, as providers bill it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Literal, get_args

from headrace_meter.conditions import Condition
from headrace_meter.tiers import Tiers

Meter = Literal["input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "embedding_tokens"]
METERS: tuple[str, ...] = get_args(Meter)
PROMPT_METERS = ("input_tokens", "cached_input_tokens")
# What a token of this meter is besides: its price is that of the whole where it has none of its own.
PART_OF: Mapping[str, str] = MappingProxyType(
    {"cached_input_tokens": "input_tokens", "reasoning_tokens": "output_tokens"}
)


@dataclass(frozen=True, slots=True)
class Variant:
    """Prices instead of the rate's own while a condition holds; meters that it does not name keep the rate's."""

    when: Condition
    tiers: Mapping[str, Tiers]


@dataclass(frozen=True, slots=True)
class Rate:
    """What a model costs from `effective_from` on, by meter, in `currency`. The first variant that holds applies.

    `machine` names what a self-hosted model's prices were computed from.
    """

    model: str
    effective_from: datetime
    tiers: Mapping[str, Tiers]
    currency: str
    variants: tuple[Variant, ...] = ()
    machine: str = ""

    @property
    def id(self) -> str:
        """Name the rate: model and day, and the time where it is not midnight."""
        moment = self.effective_from
        at_midnight = (moment.hour, moment.minute, moment.second) == (0, 0, 0)
        return f"{self.model}@{moment:%Y-%m-%d}" + ("" if at_midnight else f"T{moment:%H:%M:%S}Z")

    def variant(self, at: datetime, prompt_tokens: int) -> Variant | None:
        """Return the variant that applies; None for the rate's own prices."""
        return next((one for one in self.variants if one.when.holds(at, prompt_tokens)), None)

    def paid_as(self, meter: str, variant: Variant | None) -> str:
        """Return the meter whose prices are paid for one: itself, or what it is a part of where it has none here."""
        own = meter in self.tiers or (variant is not None and meter in variant.tiers)
        return meter if own else PART_OF.get(meter, meter)

    def listed(self, meter: str, variant: Variant | None) -> Tiers | None:
        """Return a meter's prices under a variant; None for a meter without a price."""
        paid = self.paid_as(meter, variant)
        of_variant = variant.tiers.get(paid) if variant else None
        return of_variant or self.tiers.get(paid)


def may_be(meter: str) -> tuple[str, ...]:
    """Return a meter and its parts: as what a token that is counted there before it is used may turn out."""
    return (meter, *(part for part, whole in PART_OF.items() if whole == meter))


def prompt_tokens(quantities: Mapping[str, int]) -> int:
    """Return how large an attempt's prompt was: all that was read, from a cache or not."""
    return sum(quantities.get(meter, 0) for meter in PROMPT_METERS)
