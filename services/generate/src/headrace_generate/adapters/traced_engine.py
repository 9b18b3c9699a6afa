"""An engine with a span, metrics and a log line around every call. No prompt, no answer: counts, names and times."""

from __future__ import annotations

import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from headrace_telemetry import get_logger, span
from headrace_telemetry.names import Attribute
from opentelemetry.trace import Span, SpanKind
from opentelemetry.util.types import AttributeValue

from headrace_generate import metrics
from headrace_generate.catalogue import ModelCard
from headrace_generate.domain import AttemptFailed, Message, Written
from headrace_generate.ports import Engine, ModelCall, Progress

_log = get_logger()


class TracedEngine:
    """Wraps an engine of the catalogue."""

    def __init__(self, engine: Engine, card: ModelCard) -> None:
        self._engine, self._card = engine, card
        self._remote = card.kind == "openai"
        self._model = card.model or card.name  # what the other side calls it

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Ask the engine."""
        return self._engine.count_tokens(messages)

    async def generate(self, call: ModelCall, progress: Progress) -> Written:
        """Ask the engine, and record how it went."""
        names = {"model": self._model, "provider": self._card.provider}
        began, first = time.monotonic(), 0.0

        def heard(tokens: int) -> None:
            nonlocal first
            first = first or time.monotonic()
            progress(tokens)

        error = ""
        kind = SpanKind.CLIENT if self._remote else SpanKind.INTERNAL
        try:
            with span(f"chat {self._model}", kind=kind, attributes=self._asked(call)) as current:
                written = await _reason_marked(self._engine, call, heard, current)
                _mark(current, written)
        except BaseException as failure:
            error = failure.reason if isinstance(failure, AttemptFailed) else type(failure).__name__
            raise
        finally:
            served_here = not self._remote
            seconds = time.monotonic() - began
            metrics.call_ended(seconds, **names, served_here=served_here, error=error)
            outcome = error or "completed"
            _log.info("model.called", **names, attempt=call.attempt, outcome=outcome, duration_ms=round(seconds * 1000))
        metrics.tokens_used(written.used, **names)
        if first:
            metrics.first_token(first - began, **names)
            if written.used.output_tokens > 1:
                metrics.per_token((time.monotonic() - first) / (written.used.output_tokens - 1), **names)
        return written

    def _asked(self, call: ModelCall) -> dict[Attribute, AttributeValue]:
        asked: dict[Attribute, AttributeValue] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": self._card.provider,
            "gen_ai.request.model": self._model,
            "gen_ai.request.max_tokens": call.output_tokens_max,
            "gen_ai.request.temperature": 0.0,
            "gen_ai.request.stream": True,
            "gen_ai.output.type": "text",
            "headrace.request.id": call.request_id,
            "headrace.attempt": call.attempt,
        }
        if self._remote:
            asked["server.address"] = urlsplit(self._card.base_url).hostname or ""
        return asked


async def _reason_marked(engine: Engine, call: ModelCall, progress: Progress, current: Span) -> Written:
    try:
        return await engine.generate(call, progress)
    except AttemptFailed as failure:
        current.set_attribute("headrace.reason", failure.reason)
        raise


def _mark(current: Span, written: Written) -> None:
    current.set_attribute("gen_ai.response.id", written.response_id)
    current.set_attribute("gen_ai.response.model", written.response_model)
    current.set_attribute("gen_ai.response.finish_reasons", [written.finish_reason])
    current.set_attribute("gen_ai.usage.input_tokens", written.used.input_tokens)
    current.set_attribute("gen_ai.usage.output_tokens", written.used.output_tokens)
    if written.used.cached_input_tokens:
        current.set_attribute("gen_ai.usage.cache_read.input_tokens", written.used.cached_input_tokens)
