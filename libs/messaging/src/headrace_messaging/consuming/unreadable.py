"""Partitions that cannot be read now: a batch that no parser understands, or an error that the broker answers for them.

Nothing of them is skipped. They are tried again every so often, and show in `headrace.subscriber.blocked` meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic
from typing import Final

from headrace_telemetry import get_logger

from headrace_messaging.backoff import Backoff
from headrace_messaging.consuming.partitions import Place
from headrace_messaging.metrics import BLOCKED

_log = get_logger()
SEARCH_S_MAX: Final = 10.0
"""An error that is found in no partition in this time has passed."""


class Unreadable:
    """The partitions of one consumer that could not be read. While `searching`, the one that failed is not known."""

    def __init__(self, backoff: Backoff, clock: Callable[[], float] = monotonic) -> None:
        self._backoff = backoff
        self._clock = clock
        self._search_until = float("-inf")
        self._failures: dict[Place, int] = {}

    @property
    def searching(self) -> bool:
        """Whether to ask each partition by itself."""
        return self._clock() < self._search_until

    def search(self) -> None:
        """Take note that some partition failed."""
        self._search_until = self._clock() + SEARCH_S_MAX

    def found(self, place: Place, error: Exception) -> Callable[[], bool]:
        """Take note of which it was; return when to try it again."""
        self._search_until = float("-inf")
        if place not in self._failures:
            BLOCKED.add(1, {"messaging.destination.name": place[0]})
        failures = self._failures[place] = self._failures.get(place, 0) + 1
        name, partition = place
        _log.error("fetch.failed", topic=name, partition=partition, error=type(error).__name__, failures=failures)
        again_at = self._clock() + self._backoff.wait_s(failures)
        return lambda: self._clock() >= again_at

    def read(self, places: Iterable[Place]) -> None:
        """Take note that partitions could be read."""
        for place in self._failures.keys() & {(name, partition) for name, partition in places}:
            self._recovered(place)

    def forget(self) -> None:
        """Take note that no partition is ours any more."""
        for place in tuple(self._failures):
            self._recovered(place)

    def _recovered(self, place: Place) -> None:
        del self._failures[place]
        BLOCKED.add(-1, {"messaging.destination.name": place[0]})
