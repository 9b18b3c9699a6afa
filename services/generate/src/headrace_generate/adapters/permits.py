"""A bound on the calls in flight to one model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from headrace_errors import DeadlineExceeded


class Permits:
    """`calls_max` at a time; the others wait, each at most to its own deadline."""

    def __init__(self, calls_max: int, clock: Callable[[], datetime]) -> None:
        self._free, self._clock = asyncio.Semaphore(calls_max), clock

    @asynccontextmanager
    async def until(self, deadline: datetime) -> AsyncIterator[None]:
        """Hold a permit for a block. Raises DeadlineExceeded when none came free in time."""
        try:
            async with asyncio.timeout((deadline - self._clock()).total_seconds()):
                await self._free.acquire()
        except TimeoutError as error:
            raise DeadlineExceeded("no permit for the model came free in time") from error
        try:
            yield
        finally:
            self._free.release()
