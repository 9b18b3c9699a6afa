"""A hosted model's engine behind a circuit breaker: while it is open, attempts fail at once and are not billed."""

from __future__ import annotations

from collections.abc import Sequence

from headrace_runtime import CircuitBreaker, CircuitOpen, Verdict

from headrace_generate.domain import AttemptFailed, Message, Written
from headrace_generate.ports import Engine, ModelCall, Progress


class BreakingEngine:
    """Wraps a provider's engine. What is worth another attempt is the provider's failure; a refused request is ours."""

    def __init__(self, engine: Engine, breaker: CircuitBreaker) -> None:
        """`breaker` judges by `verdict_of` of this module."""
        self._engine, self._breaker = engine, breaker

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Ask the engine."""
        return self._engine.count_tokens(messages)

    async def generate(self, call: ModelCall, progress: Progress) -> Written:
        """Ask the engine, unless it failed too often: then AttemptFailed `provider_circuit_open`."""
        try:
            with self._breaker.attempt():
                return await self._engine.generate(call, progress)
        except CircuitOpen as error:
            raise AttemptFailed(error.reason, retry_after_s=error.retry_after_s) from error


def verdict_of(error: BaseException) -> Verdict:
    """Judge an engine's exception: 429, 5xx, silence, cut streams are failures; 400 and 401 are answers."""
    if not isinstance(error, AttemptFailed) or not error.reason.startswith("provider_"):
        return "nothing"  # cancelled, out of its own time, or refused on this side
    return "failed" if error.retry else "answered"
