"""Structured logs, traces, metrics, and the one vocabulary of their names.

It sets up; what is logged or traced is the caller's. Prompt and document text never enter a span, a log or a metric:
give ids, lengths and token counts.
"""

from headrace_telemetry.logs import get_logger, log_context
from headrace_telemetry.names import Attribute, MetricName
from headrace_telemetry.setup import Telemetry, configure
from headrace_telemetry.tracing import (
    collected,
    extract_context,
    inject_context,
    pass_traces_on,
    span,
    stream_span,
    trace_id_of,
)

__all__ = [
    "Attribute",
    "MetricName",
    "Telemetry",
    "collected",
    "configure",
    "extract_context",
    "get_logger",
    "inject_context",
    "log_context",
    "pass_traces_on",
    "span",
    "stream_span",
    "trace_id_of",
]
