"""A circuit breaker in front of a provider: who does not answer is left alone for a while, and then asked by one call.

    with breaker.attempt():
        answer = await provider.ask(...)

Closed, calls go through; after `failures_max` failures in a row it opens, and calls fail at once. When its time is up
one call tries: success closes it, failure opens it for twice as long. What a failure is, the caller says by raising
Unavailable. It belongs to one event loop, and starts no timer.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from headrace_errors import Unavailable

State = Literal["closed", "open", "trying"]


class CircuitBreaker:
    """One provider's breaker. Open for `open_s` at first, at most `open_s_max`."""

    def __init__(
        self,
        name: str,
        *,
        failures_max: int = 5,
        open_s: float = 2.0,
        open_s_max: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._failures_max = failures_max
        self._open_s_first, self._open_s_max = open_s, open_s_max
        self._clock = clock
        self._failures = 0
        self._open_s = open_s
        self._opens_until: float | None = None
        self._trying = False

    @property
    def state(self) -> State:
        """Tell how it stands now."""
        if self._opens_until is None:
            return "closed"
        return "trying" if self._trying else "open"

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Make one call. Raises Unavailable at once while open.

        Unavailable from within counts as a failure; any other answer, good or bad, shows that somebody is there. A call
        that was cancelled says nothing.
        """
        tries = self._admit()
        try:
            yield
        except Unavailable:
            self._failed()
            raise
        except Exception:
            self._answered()
            raise
        except BaseException:
            self._trying = self._trying and not tries
            raise
        else:
            self._answered()

    def _admit(self) -> bool:
        if self._opens_until is None:
            return False
        left_s = self._opens_until - self._clock()
        if left_s > 0 or self._trying:
            raise Unavailable(f"{self._name} does not answer; it is asked again in {max(left_s, 0):.1f} s")
        self._trying = True
        return True

    def _answered(self) -> None:
        self._failures, self._opens_until, self._trying = 0, None, False
        self._open_s = self._open_s_first

    def _failed(self) -> None:
        self._failures += 1
        if self._opens_until is not None and not self._trying:
            return  # a straggler of before it opened
        if self._trying:
            self._open_s = min(2 * self._open_s, self._open_s_max)
        elif self._failures < self._failures_max:
            return
        self._opens_until, self._trying = self._clock() + self._open_s, False
