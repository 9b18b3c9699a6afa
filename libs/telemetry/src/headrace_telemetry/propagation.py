"""Trace context without spans, for a process that nobody collects from: what it passes on stays one trace.

A span that is made, named and thrown away costs as much as one that is exported. What comes with a context leaves with
it, so that the next process that is collected from is the child of the last one; what comes without gets a new one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    TraceFlags,
    Tracer,
    TracerProvider,
    get_current_span,
    use_span,
)

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_ids = RandomIdGenerator()


class PropagatingProvider(TracerProvider):
    """Gives out tracers that make no spans."""

    def get_tracer(self, *_: Any, **__: Any) -> Tracer:
        """Return the one tracer."""
        return _TRACER


class _PropagatingTracer(Tracer):
    def start_span(self, name: str, context: Context | None = None, *_: Any, **__: Any) -> Span:  # noqa: ARG002 - OpenTelemetry's
        parent = get_current_span(context)
        if isinstance(parent, NonRecordingSpan) and parent.get_span_context().is_valid:
            return parent
        passed = parent.get_span_context()
        if not passed.is_valid:
            passed = SpanContext(
                _ids.generate_trace_id(), _ids.generate_span_id(), is_remote=False, trace_flags=_SAMPLED
            )
        return NonRecordingSpan(passed)

    @contextmanager
    def start_as_current_span(self, name: str, context: Context | None = None, *_: Any, **__: Any) -> Iterator[Span]:  # type: ignore[override] # a decorator of its own
        with use_span(self.start_span(name, context)) as current:
            yield current


_TRACER = _PropagatingTracer()
