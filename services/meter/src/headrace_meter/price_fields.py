"""Reads the single fields of a price book strictly: each error names its place and what would be right."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from headrace_meter.money import decimal_of, micros_of


class InvalidPrices(ValueError):
    """The price book cannot be used; the text names the place, as keys from the top, and what to do."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}")
        self.place = place


def mapping(value: object, place: str, *, allowed: set[str]) -> Mapping[str, Any]:
    """Return a mapping that has no other than the allowed keys."""
    if not isinstance(value, Mapping):
        raise InvalidPrices(place, "a mapping is needed")
    if unknown := set(map(str, value)) - allowed:
        raise InvalidPrices(f"{place}.{min(unknown)}", f"not known here; allowed: {', '.join(sorted(allowed))}")
    return value


def entries(value: object, place: str) -> list[tuple[Any, str]]:
    """Return a list's entries, each with its place; none where there is no list."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidPrices(place, "a list is needed: each entry begins with a dash")
    return [(entry, f"{place}[{index}]") for index, entry in enumerate(value)]


def text(value: object, place: str) -> str:
    """Return a text that is not empty."""
    if not isinstance(value, str) or not value:
        # YAML reads null, no and 2026 as something else than text.
        raise InvalidPrices(place, f"a text is needed, quoted where YAML would read {value!r}")
    return value


def number(value: object, place: str, *, most: int | None = None) -> Decimal:
    """Return a number that is not negative, and at most `most`."""
    try:
        found = decimal_of(value)
    except ValueError as error:
        raise InvalidPrices(place, f'{error}: write a decimal like "0.04"') from None
    if found < 0:
        raise InvalidPrices(place, "it is negative, and must not be")
    if most is not None and found > most:
        raise InvalidPrices(place, f"{found} is more than {most}")
    return found


def steps(value: object, place: str, *, decimals: int, most: int | None = None) -> int:
    """Return a number as a count of its smallest steps; more decimals than there are steps for are refused."""
    scaled = number(value, place, most=most).scaleb(decimals)
    if scaled != scaled.to_integral_value():
        raise InvalidPrices(place, f"{value} has more than {decimals} decimals: round it")
    return int(scaled)


def whole(value: object, place: str) -> int:
    """Return a whole number above 0."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidPrices(place, f"a whole number above 0 is needed, not {value!r}")
    return value


def micros(value: object, place: str) -> int:
    """Return a price for a million, in micros."""
    try:
        return micros_of(number(value, place))
    except InvalidPrices:
        raise
    except ValueError as error:
        raise InvalidPrices(place, f"{error}: at most six decimals for a million") from None


def moment(value: object, place: str) -> datetime:
    """Return a day (midnight in UTC) or a time; without an offset it is UTC."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise InvalidPrices(place, f"{value!r} is neither a date (2026-11-21) nor a time (RFC 3339)") from None
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    raise InvalidPrices(place, "a date is needed, like 2026-11-21")


def clock(value: object, place: str) -> time:
    """Return a time of day."""
    # YAML reads 16:30 without quotes as the number 990: minutes, in base 60.
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 24 * 60:
        return time(*divmod(value, 60))
    try:
        return time.fromisoformat(value) if isinstance(value, str) else _no_time(value)
    except ValueError:
        raise InvalidPrices(place, f'{value!r} is no time of day like "16:30"') from None


def zone(value: object, place: str) -> ZoneInfo:
    """Return a time zone by its name in the IANA database."""
    name = text(value, place)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidPrices(place, f"no time zone {name!r}: write UTC, or a name like Europe/Berlin") from None


def currency(value: object, place: str) -> str:
    """Return a currency's code."""
    name = text(value, place)
    if not (len(name) == 3 and name.isascii() and name.isupper()):  # noqa: PLR2004 - ISO 4217
        raise InvalidPrices(place, f"{name!r} is no currency code of ISO 4217, like USD")
    return name


def _no_time(value: object) -> time:
    raise ValueError(f"{value!r} is no time")
