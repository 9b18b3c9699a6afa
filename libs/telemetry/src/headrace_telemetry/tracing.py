"""Spans and W3C trace context, narrow enough that an exception's text or a payload cannot slip into a span."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue

from headrace_telemetry.names import Attribute
from headrace_telemetry.propagation import PropagatingTracer

_TRACER: trace.Tracer = trace.get_tracer("headrace")  # a proxy: it follows the provider that is set later


@contextmanager
def span(
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Mapping[Attribute, AttributeValue] | None = None,
    parent: Context | None = None,
    links: tuple[Link, ...] = (),
) -> Iterator[Span]:
    """Run a block in a span; an exception marks it with its class (`error.type`), never with its text."""
    started = _TRACER.start_span(name, context=parent, kind=kind, attributes=_named(attributes), links=links)
    with trace.use_span(started, end_on_exit=True, record_exception=False, set_status_on_exception=False) as current:
        try:
            yield current
        except BaseException as error:
            current.set_attribute("error.type", type(error).__name__)
            current.set_status(StatusCode.ERROR)
            raise


@contextmanager
def stream_span(
    name: str,
    *,
    kind: SpanKind,
    attributes: Mapping[Attribute, AttributeValue] | None = None,
    parent: Context | None = None,
) -> Iterator[Context]:
    """Run a generator's life, or one of many messages, in a span that is never current: it may end in another task.

    Yields the context to inject into what the stream is asked with.
    """
    started = _TRACER.start_span(name, context=parent, kind=kind, attributes=_named(attributes))
    try:
        yield trace.set_span_in_context(started)
    except GeneratorExit:
        raise  # the consumer had enough: no error
    except BaseException as error:
        started.set_attribute("error.type", type(error).__name__)
        started.set_status(StatusCode.ERROR)
        raise
    finally:
        started.end()


def collected() -> bool:
    """Tell whether spans of this process go anywhere; where they do not, what describes them need not be made."""
    return not isinstance(_TRACER, PropagatingTracer)


def pass_traces_on() -> None:
    """Make no spans in this process, but give what it sends a trace; a no-op where its spans are collected already."""
    global _TRACER  # noqa: PLW0603 - of the process, as OpenTelemetry's own provider
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        _TRACER = PropagatingTracer()


def inject_context(context: Context | None = None) -> dict[str, str]:
    """Return the given or current trace context as W3C `traceparent` and `tracestate`; empty outside a span."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier, context)
    return carrier


def extract_context(carrier: Mapping[str, str]) -> Context:
    """Return the trace context that a carrier with `traceparent` and `tracestate` names."""
    return propagate.extract(dict(carrier), context=Context())


def trace_id_of(traceparent: str) -> str:
    """Return the 32 hexadecimal digits of the trace id in a `traceparent`; empty where it is none."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) == 4 and len(parts[1]) == 32 else ""  # noqa: PLR2004 - W3C trace context, level 1


def _named(attributes: Mapping[Attribute, AttributeValue] | None) -> dict[str, AttributeValue]:
    return {str(key): value for key, value in (attributes or {}).items()}
