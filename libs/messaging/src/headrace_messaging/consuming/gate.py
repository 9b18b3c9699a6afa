"""What may hold up the intake of a partition, without holding up any other: and until when."""

from __future__ import annotations

import time
from collections.abc import Callable

from headrace_messaging.consuming.partitions import Place, Progress
from headrace_messaging.consuming.subscription import SubscriberOptions
from headrace_messaging.event import Received
from headrace_messaging.retry.ladder import Ladder

Clear = Callable[[], bool]
"""Says whether the way is clear again."""


class Gate:
    """Looks at each record before it is taken in. `now_ms` is the epoch's time in milliseconds."""

    def __init__(
        self,
        ladder: Ladder,
        options: SubscriberOptions,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._ladder = ladder
        self._options = options
        self._now_ms = now_ms
        self._due: dict[Place, tuple[int, int]] = {}

    def obstacle(self, record: Received, progress: Progress) -> Clear | None:
        """Return when to look again; None where the record may be taken in."""
        level = self._ladder.rung(record.topic).level
        obstacles: list[Clear] = [lambda: self._has_room(progress), lambda: not progress.blocked]
        if level == 0:
            obstacles.append(lambda: self._may_climb(progress))
        else:
            due_ms = self._due_ms(record)
            obstacles.append(lambda: self._now_ms() >= due_ms)
        return next((clear for clear in obstacles if not clear()), None)

    def _has_room(self, progress: Progress) -> bool:
        return progress.watermark.pending < self._options.ahead_max

    def _may_climb(self, progress: Progress) -> bool:
        retries = self._options.retries
        return retries is None or len(progress.keys) < retries.waiting_max

    def _due_ms(self, record: Received) -> int:
        # Decided when a record is first seen: the moment that bounds the wait must not move on with the clock.
        place = record.topic, record.partition
        seen, due_ms = self._due.get(place, (-1, 0))
        if seen != record.offset:
            due_ms = self._ladder.due_ms(record, self._now_ms())
            self._due[place] = record.offset, due_ms
        return due_ms
