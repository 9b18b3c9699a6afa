"""What may hold up the intake of a partition, without holding up any other: and until when."""

from __future__ import annotations

from collections.abc import Callable

from headrace_messaging.clock import BrokerClock
from headrace_messaging.consuming.partitions import Progress
from headrace_messaging.consuming.subscription import SubscriberOptions
from headrace_messaging.event import Received
from headrace_messaging.retry.ladder import Ladder

Clear = Callable[[], bool]
"""Says whether the way is clear again."""


class Gate:
    """Looks at each record before it is taken in. What is due is due by the brokers' clock."""

    def __init__(self, ladder: Ladder, options: SubscriberOptions, clock: BrokerClock) -> None:
        self._ladder = ladder
        self._options = options
        self._clock = clock

    def obstacle(self, record: Received, progress: Progress) -> Clear | None:
        """Return when to look again; None where the record may be taken in."""
        level = self._ladder.rung(record.topic).level
        obstacles: list[Clear] = [lambda: self._has_room(progress), lambda: not progress.blocked]
        if level == 0:
            obstacles.append(lambda: self._may_climb(progress))
        else:
            due_ms = self._ladder.due_ms(record)
            obstacles.append(lambda: self._clock.now_ms() >= due_ms)
        return next((clear for clear in obstacles if not clear()), None)

    def _has_room(self, progress: Progress) -> bool:
        return progress.watermark.pending < self._options.ahead_max

    def _may_climb(self, progress: Progress) -> bool:
        retries = self._options.retries
        return retries is None or len(progress.keys) < retries.waiting_max
