"""A bound on the calls to one model: so many in flight, so many that wait, and for the others a hint when to return."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from headrace_errors import DeadlineExceeded, Overloaded

RETRY_AFTER_MIN_S, RETRY_AFTER_MAX_S = 0.2, 30.0
FIRST_GUESS_S = 1.0  # how long a call takes, before one has ended
NEWEST_SHARE = 0.2  # of the call that ended last, in the mean


class QueuedPermits:
    """`calls_max` at a time and `waiting_max` that wait, each at most to its own deadline."""

    def __init__(self, calls_max: int, waiting_max: int, clock: Callable[[], datetime]) -> None:
        self._free, self._clock = asyncio.Semaphore(calls_max), clock
        self._calls_max, self._waiting_max = calls_max, waiting_max
        self._waiting = 0
        self._mean_s = FIRST_GUESS_S

    def check(self) -> None:
        """Raise Overloaded where too many wait; it says after what time so many will have ended."""
        if self._free.locked() and self._waiting >= self._waiting_max:
            raise Overloaded(f"{self._waiting} calls wait for the model", retry_after_s=self._retry_after_s())

    @asynccontextmanager
    async def until(self, deadline: datetime) -> AsyncIterator[None]:
        """Hold a permit for a block. Raises Overloaded as `check` does, DeadlineExceeded after waiting.

        Nothing was spent then.
        """
        self.check()
        self._waiting += 1
        try:
            async with asyncio.timeout((deadline - self._clock()).total_seconds()):
                await self._free.acquire()
        except TimeoutError as error:
            raise DeadlineExceeded("no permit for the model came free in time") from error
        finally:
            self._waiting -= 1
        began = self._clock()
        try:
            yield
        finally:
            self._free.release()
            taken_s = (self._clock() - began).total_seconds()
            self._mean_s += NEWEST_SHARE * (taken_s - self._mean_s)

    def _retry_after_s(self) -> float:
        expected_s = self._mean_s * self._waiting / self._calls_max
        return min(max(expected_s, RETRY_AFTER_MIN_S), RETRY_AFTER_MAX_S)
