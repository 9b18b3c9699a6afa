"""Watermarks for services that store their own offsets: those of partitions that have come to rest, too.

The transaction of an effect stores an offset as of the moment when its event was read. What was done beside it, marks
of transactions and messages that had no effect come after that: stored here, or each restart would begin before them,
and find them gone once retention has taken them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from time import monotonic

from headrace_errors import HeadraceError
from headrace_telemetry import get_logger

from headrace_messaging.consuming.commits import COMMIT_TIMEOUT_S
from headrace_messaging.consuming.partitions import Progress
from headrace_messaging.consuming.subscription import StoredOffsets

_log = get_logger()
INTERVAL_S = 1.0
"""Each time is a transaction beside those of the service."""


class Bookmarks:
    """Stores watermarks in `offsets`; a no-op where a service has none."""

    def __init__(self, offsets: StoredOffsets | None, clock: Callable[[], float] = monotonic) -> None:
        self._offsets = offsets
        self._clock = clock
        self._stored_at = float("-inf")

    async def store(self, progresses: Iterable[Progress], *, last: bool = False) -> None:
        """Store every watermark that moved, at most once an interval unless it is the last time; a failure is logged.

        Whoever has a partition by now, all before its watermark is done: stored offsets only ever move forward.
        """
        moved = [each for each in progresses if each.stored != each.watermark.position]
        if self._offsets is None or not moved or (not last and self._clock() < self._stored_at + INTERVAL_S):
            return
        self._stored_at = self._clock()
        positions = {each.place: each.watermark.position for each in moved}
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await self._offsets.store(positions)
        except (HeadraceError, TimeoutError) as error:
            _log.warning("offsets.not_stored", partitions=len(positions), error=type(error).__name__)
        else:
            for each in moved:
                each.stored = positions[each.place]
