"""Waiting for what does not answer: exponential backoff with full jitter, up to a moment or for as long as it takes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from headrace_errors import HeadraceError, Overloaded, Unavailable

T = TypeVar("T")


class Abandoned(Exception):
    """The wait has no point any more."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait between tries, in milliseconds; the wait doubles from `min_ms` to at most `max_ms`."""

    min_ms: int = 50
    max_ms: int = 5_000

    def wait_s(self, tries: int) -> float:
        """Return the wait after the given number of failed tries (from 1), in seconds, at random up to its ceiling."""
        ceiling_ms = min(self.max_ms, self.min_ms * 2 ** min(tries, 30))
        return random.uniform(self.min_ms, ceiling_ms) / 1000  # noqa: S311 - jitter, not a secret


async def keep_trying(
    call: Callable[[], Awaitable[T]],
    *,
    backoff: Backoff,
    until: datetime | None = None,
    unavailable_max: int | None = None,
    held: Callable[[], bool] = lambda: True,
    on_wait: Callable[[HeadraceError, int], None] = lambda _error, _tries: None,
) -> T:
    """Return what `call` returns, waiting while it raises Unavailable or Overloaded.

    Past `until`, or at the `unavailable_max`th Unavailable, the error is raised; with None there is no such moment: the
    caller's backlog bounds what waits.
    Raises Abandoned as soon as `held` says no. `on_wait` is told of every wait.
    """
    tries = unavailable = 0
    while True:
        try:
            return await call()
        except (Unavailable, Overloaded) as error:
            tries += 1
            unavailable += isinstance(error, Unavailable)
            if unavailable == unavailable_max:
                raise
            wait_s = max(backoff.wait_s(tries), error.retry_after_s if isinstance(error, Overloaded) else 0)
            if until is not None and (datetime.now(UTC).timestamp() + wait_s) >= until.timestamp():
                raise
            on_wait(error, tries)
        if not held():
            raise Abandoned
        await asyncio.sleep(wait_s)
        if not held():
            raise Abandoned
