"""The brokers' clock, as far as this process can know it: from the times on records and acknowledgements.

A broker writes its own time on each record (LogAppendTime): what waits on a retry topic waits by that clock, whatever
the clocks of those who put it there and take it up say. Deadlines are judged by our own clock, as their producers' are;
one that is off is shown, and named in the log, for people to repair.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

from headrace_telemetry import get_logger

from headrace_messaging.metrics import CLOCK_OFFSET

OFFSET_S_MAX: Final = 5.0
WARNING_INTERVAL_S: Final = 60.0
MEMORY_S: Final = 60.0
"""How long a broker's time counts at least; times seen two such intervals later replace it, for clocks are put back."""
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
    """What one process knows of the brokers' clock.

    By that clock it is at least as late as the latest time that was seen, and what has passed since. So nothing is ever
    thought due before it is; by how much it is thought due too late is the age of the newest record that was seen.
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        ours: Callable[[], float] = time.time,
    ) -> None:
        self._monotonic = monotonic
        self._ours = ours
        self._ahead_ms: list[float] = []  # of the monotonic clock, at least: now, and in the interval before
        self._since = monotonic()
        self._warned_at = float("-inf")

    def now_ms(self) -> float:
        """Return the least that the brokers' clock may say, in epoch milliseconds; ours while nothing was seen."""
        if not self._ahead_ms:
            return self._ours() * 1000
        return self._monotonic() * 1000 + max(self._ahead_ms)

    def witness(self, timestamp_ms: float) -> None:
        """Take note of a broker's time that is past by now."""
        ahead_ms = timestamp_ms - self._monotonic() * 1000
        if not self._ahead_ms or self._monotonic() - self._since >= MEMORY_S:
            self._ahead_ms = [ahead_ms, *self._ahead_ms[:1]]
            self._since = self._monotonic()
        self._ahead_ms[0] = max(self._ahead_ms[0], ahead_ms)

    def compare(self, acknowledgement: Acknowledgement, *, sent_at_s: float) -> None:
        """Show the offset that an acknowledgement proves; say it aloud now and then where it is over OFFSET_S_MAX."""
        if acknowledgement.timestamp_type != 1 or not acknowledgement.timestamp:
            return
        self.witness(acknowledgement.timestamp)
        offset_s = ahead_s(sent_at_s, acknowledgement.timestamp / 1000, self._ours())
        CLOCK_OFFSET.set(offset_s)
        if abs(offset_s) > OFFSET_S_MAX and self._monotonic() - self._warned_at > WARNING_INTERVAL_S:
            self._warned_at = self._monotonic()
            _log.warning("clock.off", ahead_s=round(offset_s, 3))
