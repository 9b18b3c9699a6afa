"""Waiting for what happens elsewhere, never for longer than said."""

from __future__ import annotations

import time
from collections.abc import Callable

_POLL_S = 0.05


def wait_until(condition: Callable[[], object], within_s: float, what: str) -> float:
    """Wait for a condition and return the seconds it took; TimeoutError says what did not come."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > within_s:
            raise TimeoutError(f"{what} did not come within {within_s:g} s")
        time.sleep(_POLL_S)
    return time.monotonic() - began
