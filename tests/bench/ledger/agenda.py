"""What is measured, and how large a run is. Only values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WINDOW_EVENTS = 5_000
"""Events just before a mark of history: what one costs there."""


@dataclass(frozen=True)
class Booking:
    """Usages booked by so many processes, of so many tenants; measured whenever the ledger holds a mark's usages."""

    database: str
    replicas: int
    tenants: int
    marks: Sequence[int]


@dataclass(frozen=True)
class Reserving:
    """Callers who reserve on so many budgets: one after the other at once, or every `every_ms`."""

    database: str
    callers: int
    budgets: int
    every_ms: int = 0


@dataclass(frozen=True)
class Publishing:
    """Usages on a real Kafka to cost rows there, through a meter process."""

    database: str
    tenants: int
    events: int


@dataclass(frozen=True)
class Verifying:
    """A record of so many links, verified where it lies."""

    database: str
    links: int


@dataclass(frozen=True)
class Agenda:
    """A run of the benchmark."""

    bookings: Sequence[Booking]
    reservings: Sequence[Reserving]
    publishings: Sequence[Publishing]
    verifyings: Sequence[Verifying]
    reserve_s: float
    rounds: int


PACE_MS = 100
"""A paced caller's time between two reservations: no attempt of a model is over sooner."""
_CALLERS = (1, 1, 0), (64, 64, 0), (64, 1, 0), (64, 64, PACE_MS), (64, 1, PACE_MS)
_DATABASES = ("sqlite", "postgresql")


def agenda(*, quick: bool, full: bool) -> Agenda:
    """Return the usual run, a smoke run whose figures mean nothing, or one up to a million usages."""
    if quick:
        return _agenda(marks=[WINDOW_EVENTS], tenants=[16], events=2_000, links=2_000, reserve_s=1.0, rounds=1)
    marks = [10_000, 100_000, *([1_000_000] if full else [])]
    return _agenda(marks=marks, tenants=[1, 16, 1_000], events=50_000, links=50_000, reserve_s=5.0, rounds=2)


def _agenda(
    *, marks: Sequence[int], tenants: Sequence[int], events: int, links: int, reserve_s: float, rounds: int
) -> Agenda:  # fmt: skip
    return Agenda(
        bookings=[
            *(Booking(database, 1, count, marks[:1]) for database in _DATABASES for count in tenants),
            Booking("postgresql", 2, 16, marks[:1]),
            *(Booking(database, 1, 16, marks) for database in _DATABASES if len(marks) > 1),
        ],
        reservings=[Reserving(database, *shape) for database in _DATABASES for shape in _CALLERS],
        publishings=[Publishing(database, 16, events) for database in _DATABASES],
        verifyings=[Verifying(database, links) for database in _DATABASES],
        reserve_s=reserve_s,
        rounds=rounds,
    )
