"""A bound on the bytes of documents held in memory at the same time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ByteBudget:
    """Bytes that may be held; whoever wants more than is left waits. First come, first served."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._left = bytes_max
        self._freed = asyncio.Condition()
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def hold(self, size_bytes: int) -> AsyncIterator[None]:
        """Hold that many bytes; what is larger than the whole budget holds all of it."""
        held = min(max(size_bytes, 0), self._bytes_max)
        async with self._turn, self._freed:
            await self._freed.wait_for(lambda: self._left >= held)
            self._left -= held
        try:
            yield
        finally:
            async with self._freed:
                self._left += held
                self._freed.notify_all()
