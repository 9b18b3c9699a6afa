"""Where the time of a request went, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime


class Timings:
    """Adds this service's stages to those before it. A stage that runs twice counts twice."""

    def __init__(self, before: Mapping[str, float], clock: Callable[[], datetime]) -> None:
        self._spent_ms = dict(before)
        self._clock = clock

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block, also one that fails."""
        began = self._clock()
        try:
            yield
        finally:
            spent_ms = (self._clock() - began).total_seconds() * 1000
            self._spent_ms[name] = round(self._spent_ms.get(name, 0.0) + spent_ms, 3)

    def so_far(self) -> dict[str, float]:
        """Return milliseconds by stage."""
        return dict(self._spent_ms)
