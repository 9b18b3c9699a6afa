"""How far this process's clock is from the brokers', told by every acknowledgement.

Deadlines and retries are judged by this clock; a broker writes its own time on each record (LogAppendTime). Nothing is
corrected here: a clock that is off is shown, and named in the log, for people to repair.
"""

from __future__ import annotations

import time
from typing import Final, Protocol

from headrace_telemetry import get_logger

from headrace_messaging.metrics import CLOCK_OFFSET

OFFSET_S_MAX: Final = 5.0
WARNING_INTERVAL_S: Final = 60.0
_log = get_logger()


class Acknowledgement(Protocol):
    """What a broker answers; `timestamp_type` is 1 where `timestamp` (ms since 1970) is the broker's own."""

    @property
    def timestamp(self) -> int | None:
        """When the record was appended, or what its producer wrote."""
        ...

    @property
    def timestamp_type(self) -> int:
        """Whose time it is."""
        ...


def ahead_s(sent_at_s: float, appended_at_s: float, acknowledged_at_s: float) -> float:
    """Return how far our clock is ahead at least (behind: negative), in seconds.

    The record was appended between sending and acknowledgement, so the truth lies between two bounds; of all that they
    allow this is what is nearest to 0: a slow acknowledgement is no wrong clock.
    """
    least, most = sent_at_s - appended_at_s, acknowledged_at_s - appended_at_s
    return max(least, min(most, 0.0))


class BrokerClock:
    """Compares one process's clock with the brokers'."""

    def __init__(self) -> None:
        self._warned_at = float("-inf")

    def compare(self, acknowledgement: Acknowledgement, *, sent_at_s: float) -> None:
        """Show the offset that an acknowledgement proves; say it aloud now and then where it is over OFFSET_S_MAX."""
        if acknowledgement.timestamp_type != 1 or not acknowledgement.timestamp:
            return
        offset_s = ahead_s(sent_at_s, acknowledgement.timestamp / 1000, time.time())
        CLOCK_OFFSET.set(offset_s)
        if abs(offset_s) > OFFSET_S_MAX and time.monotonic() - self._warned_at > WARNING_INTERVAL_S:
            self._warned_at = time.monotonic()
            _log.warning("clock.off", ahead_s=round(offset_s, 3))
