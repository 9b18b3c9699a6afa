"""How many bugs are too many: single ones are dead-lettered, a service that fails all over stops."""

from __future__ import annotations

import traceback
from collections import deque
from time import monotonic

from headrace_telemetry import get_logger

from headrace_messaging.consuming.subscription import Halted

_log = get_logger()
_FRAMES_MAX = 8


class BugCount:
    """The bugs of a subscriber within a window of time."""

    def __init__(self, *, bugs_max: int, window_ms: int) -> None:
        self._bugs_max = bugs_max
        self._window_ms = window_ms
        self._times: deque[float] = deque()

    def add(self, error: Exception) -> None:
        """Count one and log where it happened; Halted when there were too many."""
        now = monotonic()
        self._times.append(now)
        while self._times[0] < now - self._window_ms / 1000:
            self._times.popleft()
        _log.error("message.bug", error_class=type(error).__name__, where=_where(error))
        if len(self._times) > self._bugs_max:
            raise Halted(f"{len(self._times)} bugs within {self._window_ms} ms") from error


def _where(error: BaseException) -> list[str]:
    # Places only: an exception's text and its source lines may hold content.
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES_MAX:]
    return [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
