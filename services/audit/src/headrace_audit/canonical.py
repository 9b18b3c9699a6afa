"""Canonical JSON after RFC 8785: one sequence of bytes for one value, so that it can be hashed.

The library writes it in Python, value by value. What holds no float, no number past 2^53 and only ASCII is the same
bytes from the standard library's C encoder, ten times as fast; a property test holds the two to each other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import rfc8785

_INT_MAX: Final = 2**53 - 1
_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode


class _NotPlain(ValueError):
    """There is something in it that the two encoders may write differently."""


def canonical(value: Mapping[str, Any]) -> bytes:
    """Return the canonical bytes; ValueError for what JSON cannot carry exactly."""
    try:
        text = _encode(value)
        _read_plain(text)
    except (ValueError, TypeError):
        return rfc8785.dumps(dict(value))
    return text.encode()


def read_canonical(text: str) -> Any:
    """Return the value of canonical JSON; ValueError where a text is another JSON, or none."""
    try:
        value = _read_plain(text)
        is_canonical = _encode(value) == text
    except _NotPlain:
        value = json.loads(text)
        # To RFC 8785 every number is a float; what is past 2^53 is written without a point all the same.
        is_canonical = rfc8785.dumps(json.loads(text, parse_int=float)) == text.encode()
    if not is_canonical:
        raise ValueError("not canonical JSON")
    return value


def _read_plain(text: str) -> Any:
    if not text.isascii():  # beyond the first plane, keys are in another order
        raise _NotPlain
    return _decode(text)


def _refuse(_number: str) -> float:
    raise _NotPlain


def _bounded(digits: str) -> int:
    number = int(digits)
    if not -_INT_MAX <= number <= _INT_MAX:
        raise _NotPlain
    return number


_decode = json.JSONDecoder(parse_float=_refuse, parse_int=_bounded, parse_constant=_refuse).decode
