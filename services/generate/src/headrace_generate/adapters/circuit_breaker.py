"""Leaves an engine alone for a while after it failed again and again.

A provider in trouble is not pressed harder, and no query spends its deadline on calls that go nowhere.

Per process and model, in memory: each replica learns for itself within a few calls. What counts as the provider's
failure is what it, or the way to it, did wrong; a refused request (400, 401) says nothing of its health.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headrace_telemetry import get_logger

from headrace_generate.domain import AttemptFailed, Message, Written
from headrace_generate.ports import Engine, ModelCall, Progress

_log = get_logger()
OPEN = "provider_circuit_open"


@dataclass(frozen=True)
class BreakerPolicy:
    """Open after `failures_max` in a row; ask again with one call after `open_min_s`, doubled up to `open_max_s`."""

    failures_max: int = 5
    open_min_s: float = 5.0
    open_max_s: float = 60.0


class BreakingEngine:
    """Wraps a provider's engine. `clock` is in seconds and monotonic."""

    def __init__(self, engine: Engine, model: str, clock: Callable[[], float], policy: BreakerPolicy) -> None:
        self._engine, self._model, self._clock, self._policy = engine, model, clock, policy
        self._failures = 0
        self._open_s = policy.open_min_s
        self._closed_from = 0.0  # on the clock: no call before it, while it is open
        self._probing = False

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Ask the engine."""
        return self._engine.count_tokens(messages)

    async def generate(self, call: ModelCall, progress: Progress) -> Written:
        """Ask the engine, unless it failed too often; then AttemptFailed `provider_circuit_open` at once, unbilled."""
        probe = self._admit()
        try:
            written = await self._engine.generate(call, progress)
        except AttemptFailed as failure:
            self._heard(ill=failure.retry, probe=probe)
            raise
        except BaseException:  # cancelled, or no time left: nothing learnt
            self._probing = self._probing and not probe
            raise
        self._heard(ill=False, probe=probe)
        return written

    def _admit(self) -> bool:
        """Let a call through, as the probe if the circuit is open."""
        if self._failures < self._policy.failures_max:
            return False
        left_s = self._closed_from - self._clock()
        if left_s > 0 or self._probing:
            raise AttemptFailed(OPEN, retry_after_s=max(left_s, 0.0))
        self._probing = True
        return True

    def _heard(self, *, ill: bool, probe: bool) -> None:
        if probe:
            self._probing = False
        if not ill:
            if self._failures >= self._policy.failures_max:
                _log.info("provider.circuit_closed", model=self._model)
            self._failures, self._open_s = 0, self._policy.open_min_s
            return
        self._failures += 1
        if self._failures == self._policy.failures_max or probe:
            self._open_s = min(2 * self._open_s, self._policy.open_max_s) if probe else self._policy.open_min_s
            self._closed_from = self._clock() + self._open_s
            _log.warning("provider.circuit_opened", model=self._model, for_ms=round(self._open_s * 1000))
