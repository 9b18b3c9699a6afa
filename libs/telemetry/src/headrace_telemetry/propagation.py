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
    get_current_span,
    use_span,
)

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_ids = RandomIdGenerator()


class PropagatingTracer(Tracer):
    """Makes no spans: what stands for one has the context that came, or a new one."""

    def start_span(self, name: str, context: Context | None = None, *_: Any, **__: Any) -> Span:  # noqa: ARG002 - the API's
        """Return what carries the context on."""
        parent = get_current_span(context)
        passed = parent.get_span_context()
        if passed.is_valid:
            return parent if isinstance(parent, NonRecordingSpan) else NonRecordingSpan(passed)
        ids = (_ids.generate_trace_id(), _ids.generate_span_id())
        return NonRecordingSpan(SpanContext(*ids, is_remote=False, trace_flags=_SAMPLED))

    @contextmanager
    def start_as_current_span(  # type: ignore[override] # the API has a decorator of its own
        self, name: str, context: Context | None = None, *_: Any, **__: Any
    ) -> Iterator[Span]:
        """Make it current for a block."""
        with use_span(self.start_span(name, context)) as current:
            yield current
