"""When another price applies: at certain hours of certain days in a named time zone, or above a prompt's size.

Hours are read off the wall clock of the zone at the moment when the attempt began, so they move with its summer time;
the hour that a clock shows twice counts both times.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ALL_DAYS = frozenset(range(7))


@dataclass(frozen=True, slots=True)
class Hours:
    """Every day from `begin` until before `end`, on these `days` (0 is Monday).

    Hours that end at or before their begin go past midnight, and belong to the day on which they begin.
    """

    begin: time
    end: time
    zone: ZoneInfo
    days: frozenset[int] = ALL_DAYS

    def hold(self, at: datetime) -> bool:
        """Tell whether the moment is within them."""
        local = at.astimezone(self.zone)
        clock, today = local.time(), local.weekday()
        if self.begin < self.end:
            return today in self.days and self.begin <= clock < self.end
        yesterday = (local.date() - timedelta(days=1)).weekday()
        return (today in self.days and clock >= self.begin) or (yesterday in self.days and clock < self.end)

    def __str__(self) -> str:
        days = "" if self.days == ALL_DAYS else ",".join(DAYS[day] for day in sorted(self.days)) + " "
        return f"{days}{self.begin:%H:%M}-{self.end:%H:%M} {self.zone.key}"


@dataclass(frozen=True, slots=True)
class Condition:
    """Holds when everything that it names does. A prompt's size is all that was read: cached input, too."""

    hours: Hours | None = None
    prompt_above_tokens: int | None = None

    def holds(self, at: datetime, prompt_tokens: int) -> bool:
        """Tell whether an attempt that began then, with so large a prompt, is under this condition."""
        return (self.hours is None or self.hours.hold(at)) and (
            self.prompt_above_tokens is None or prompt_tokens > self.prompt_above_tokens
        )

    def __str__(self) -> str:
        size = "" if self.prompt_above_tokens is None else f"prompt>{self.prompt_above_tokens}"
        return " ".join(part for part in (size, str(self.hours or "")) if part)
