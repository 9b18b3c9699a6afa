"""Spans and W3C trace context, narrow enough that an exception's text or a payload cannot slip into a span."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue

from headrace_telemetry.names import Attribute

_TRACER = trace.get_tracer("headrace")  # a proxy: it follows the provider that is set later


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
    with _TRACER.start_as_current_span(
        name,
        context=parent,
        kind=kind,
        attributes={str(key): value for key, value in (attributes or {}).items()},
        links=links,
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield current
        except BaseException as error:
            current.set_attribute("error.type", type(error).__name__)
            current.set_status(StatusCode.ERROR)
            raise


def inject_context() -> dict[str, str]:
    """Return the current trace context as W3C `traceparent` and `tracestate`; empty outside a span."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier


def extract_context(carrier: Mapping[str, str]) -> Context:
    """Return the trace context that a carrier with `traceparent` and `tracestate` names."""
    return propagate.extract(dict(carrier), context=Context())


def trace_id_of(traceparent: str) -> str:
    """Return the 32 hexadecimal digits of the trace id in a `traceparent`; empty where it is none."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) == 4 and len(parts[1]) == 32 else ""  # noqa: PLR2004 - W3C trace context, level 1
