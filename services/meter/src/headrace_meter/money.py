"""Money as an integer count of picos: 10^-12 of the currency's unit.

A price has at most six decimals for a million units, and 10^-6 of a unit's price for each of 10^6 units is 10^-12: so
quantity times price is exact, and no amount is ever rounded. Only a unit price that is computed (converted, discounted,
made from a machine's hour) is rounded, once, to its own smallest step. A 64-bit column holds 9.2 million units of the
currency for one row or one tenant's month; more is refused, and never wraps. No float is made of an amount anywhere.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from headrace_errors import InvalidMessage

UNIT_PICOS = 10**12
PICOS_MAX = 2**63 - 1  # what a BIGINT holds
PRICE_MICROS = 10**6  # a price's smallest step is 10^-6 of the unit


def picos_of(amount: Decimal) -> int:
    """Return an amount in picos; ValueError below a pico, or for NaN and infinity."""
    return _scaled(amount, UNIT_PICOS)


def micros_of(price: Decimal) -> int:
    """Return a price in micros; ValueError below a micro, or for NaN and infinity."""
    return _scaled(price, PRICE_MICROS)


def rounded_price(numerator: int, denominator: int) -> int:
    """Divide, neither being negative, to the nearest micro, from the middle to the even one; above 0, at least to 1."""
    whole, rest = divmod(numerator, denominator)
    nearest = whole + (2 * rest > denominator or (2 * rest == denominator and whole % 2 == 1))
    return max(nearest, 1) if numerator else 0


def bounded(picos: int) -> int:
    """Return an amount that the ledger can hold; InvalidMessage for a larger one."""
    if picos > PICOS_MAX:
        raise InvalidMessage(f"an amount of {text_of(picos)} is more than the ledger holds", reason="amount_too_large")
    return picos


def decimal_of(text: object) -> Decimal:
    """Read an amount as a configuration file states it; ValueError for anything that is no finite number.

    YAML reads 0.05 without quotes as a binary float; its shortest form is again the 0.05 that was written.
    """
    if isinstance(text, bool) or not isinstance(text, str | int | float | Decimal):
        raise ValueError(f"{text!r} is not an amount")  # noqa: TRY004 - a wrong value in a file, not a wrong call
    try:
        amount = Decimal(str(text))
    except InvalidOperation:
        raise ValueError(f"{text!r} is not an amount") from None
    if not amount.is_finite():
        raise ValueError(f"{text!r} is not an amount")
    return amount


def text_of(picos: int) -> str:
    """Write an amount in picos as a plain decimal: no exponent, no trailing zeros."""
    return _decimal_text(picos, 12)


def millionths_text(micros: int) -> str:
    """Write millionths in the same way: a price in micros, or tokens as millions of them."""
    return _decimal_text(micros, 6)


def plain(number: Decimal) -> str:
    """Write a decimal without exponent and without trailing zeros."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _decimal_text(count: int, decimals: int) -> str:
    whole, rest = divmod(abs(count), 10**decimals)
    sign = "-" if count < 0 else ""
    return f"{sign}{whole}.{rest:0{decimals}d}".rstrip("0") if rest else f"{sign}{whole}"


def _scaled(amount: Decimal, steps: int) -> int:
    if not amount.is_finite():
        raise ValueError(f"{amount} is not an amount")
    numerator, denominator = (amount * steps).as_integer_ratio()
    if denominator != 1:
        raise ValueError(f"{amount} has more decimals than can be kept exactly")
    return numerator
