"""A circuit breaker before a provider: who fails again and again is left alone for a while, then asked by one call.

    with breaker.attempt():
        answer = await provider.ask(...)

A provider in trouble is not pressed harder, and nobody spends a deadline on calls that go nowhere. Per process, in
memory: each replica learns for itself within a few calls. It belongs to one event loop and starts no timer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from headrace_errors import HeadraceError, Unavailable
from headrace_telemetry import get_logger

State = Literal["closed", "open", "trying"]
Verdict = Literal["failed", "answered", "nothing"]
"""What an exception says of the provider: it failed, it is there (and said no), or nothing, as when a caller left."""
_log = get_logger()


@dataclass(frozen=True)
class BreakerPolicy:
    """Open after `failures_max` in a row; ask again with one call after `open_min_s`, doubled up to `open_max_s`."""

    failures_max: int = 5
    open_min_s: float = 2.0
    open_max_s: float = 60.0


class CircuitOpen(Unavailable):
    """Nobody was asked, and nothing was spent; `retry_after_s` says when the provider may be."""

    default_reason = "provider_circuit_open"

    def __init__(self, detail: str, *, retry_after_s: float) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


def verdict_of(error: BaseException) -> Verdict:
    """Judge by the taxonomy: Unavailable is a failure, other expected errors are answers, and bugs nothing."""
    if isinstance(error, Unavailable):
        return "failed"
    return "answered" if isinstance(error, HeadraceError) else "nothing"


class CircuitBreaker:
    """One provider's breaker. `clock` is in seconds and monotonic; `judge` tells failures from answers."""

    def __init__(
        self,
        name: str,
        policy: BreakerPolicy | None = None,
        *,
        judge: Callable[[BaseException], Verdict] = verdict_of,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._policy, self._judge, self._clock = name, policy or BreakerPolicy(), judge, clock
        self._failures = 0
        self._open_s = self._policy.open_min_s
        self._open_until: float | None = None
        self._probing = False

    @property
    def state(self) -> State:
        """Tell how it stands now."""
        if self._open_until is None:
            return "closed"
        return "trying" if self._probing else "open"

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Make one call. Raises CircuitOpen at once while open; what the call raises passes through."""
        probe = self._admit()
        try:
            yield
        except BaseException as error:
            self._hear(self._judge(error), probe=probe)
            raise
        self._hear("answered", probe=probe)

    def _admit(self) -> bool:
        """Let a call through; returns whether it is the one that finds out."""
        if self._open_until is None:
            return False
        left_s = max(self._open_until - self._clock(), 0.0)
        if left_s > 0 or self._probing:
            raise CircuitOpen(
                f"{self._name} does not answer; it is asked again in {left_s:.1f} s", retry_after_s=left_s
            )
        self._probing = True
        return True

    def _hear(self, verdict: Verdict, *, probe: bool) -> None:
        if probe:
            self._probing = False
        match verdict:
            case "answered":
                self._close()
            case "failed":
                self._count(probe=probe)

    def _close(self) -> None:
        if self._open_until is not None:
            _log.info("provider.circuit_closed", provider=self._name)
        self._failures, self._open_s, self._open_until = 0, self._policy.open_min_s, None

    def _count(self, *, probe: bool) -> None:
        self._failures += 1
        if self._open_until is None:
            if self._failures >= self._policy.failures_max:
                self._open(self._policy.open_min_s)
        elif probe:  # calls from before it opened fail too, and change nothing
            self._open(min(2 * self._open_s, self._policy.open_max_s))

    def _open(self, open_s: float) -> None:
        self._open_s, self._open_until = open_s, self._clock() + open_s
        _log.warning("provider.circuit_opened", provider=self._name, for_ms=round(1000 * open_s))
