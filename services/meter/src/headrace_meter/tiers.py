"""Graduated prices: the first so many of a month at one price, the next at another.

What counts towards a tier: one tenant's quantity of one meter of one model in one calendar month (UTC, by when the
attempt began), in the order in which the ledger books it, whatever rate, hours or size each part was priced by. A tier
is paid for what lies in it only, never for what came before: a boundary moves no price that was already booked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tier:
    """A price (micros a million) for the units of a month up to and with number `up_to`; None is the last tier."""

    micros: int
    up_to: int | None = None


Tiers = tuple[Tier, ...]
"""Ascending by `up_to`, the last one open: never empty. A flat price is one tier."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Part of a quantity for which every schedule has one price: the number of its tier in each, from 0."""

    quantity: int
    tiers: tuple[int, ...]


def flat(micros: int) -> Tiers:
    """Return a price without tiers."""
    return (Tier(micros),)


def segments(schedules: Sequence[Tiers], quantity: int, *, counted: int) -> Iterator[Segment]:
    """Cut a quantity wherever a schedule's price changes; `counted` units of the month came before it."""
    position, end = counted, counted + quantity
    while position < end:
        numbers = tuple(_number(tiers, position) for tiers in schedules)
        limits = (tiers[number].up_to for tiers, number in zip(schedules, numbers, strict=True))
        until = min([end, *(limit for limit in limits if limit is not None)])
        yield Segment(until - position, numbers)
        position = until


def _number(tiers: Tiers, position: int) -> int:
    """Return the tier of the unit after `position` units."""
    return next(number for number, tier in enumerate(tiers) if tier.up_to is None or position < tier.up_to)
