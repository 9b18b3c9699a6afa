"""The spans of messaging: `send {topic}` for a producer, `process {topic}` for a consumer, in one trace.

A consumer continues the producer's trace. Keys are hashed; payloads and exception texts never enter a span.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from headrace_telemetry import Attribute, collected, extract_context, inject_context, span, stream_span
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import Span, SpanKind, get_current_span

from headrace_messaging.envelope import Envelope, salvage_headers
from headrace_messaging.event import Outgoing, Received

_KEY_HASH_DIGITS = 16


def sending(outgoing: Outgoing) -> AbstractContextManager[Span]:
    """Open the span in which an event is encoded: its context is the one that the event carries."""
    return span(f"send {outgoing.topic}", kind=SpanKind.PRODUCER, attributes=_of_sending(outgoing))


def processing(received: Received, headers: Mapping[str, str], group: str) -> AbstractContextManager[Span]:
    """Open the span in which a message is handled, as a child of the span that sent it: its headers, decoded, say."""
    attributes = _of_processing(received, headers, group)
    parent = _parent(headers)
    return span(f"process {received.topic}", kind=SpanKind.CONSUMER, attributes=attributes, parent=parent)


@contextmanager
def processing_among(received: Received, group: str, count: int) -> Iterator[tuple[str, str]]:
    """Open the span of a message that is handled together with others, current for none.

    Yields the `traceparent` and `tracestate` for what follows from this one.
    """
    headers = salvage_headers(received.headers)
    attributes = _of_processing(received, headers, group) | {"messaging.batch.message_count": count}
    with stream_span(
        f"process {received.topic}", kind=SpanKind.CONSUMER, attributes=attributes, parent=_parent(headers)
    ) as context:
        carrier = inject_context(context)
        yield carrier.get("traceparent", ""), carrier.get("tracestate", "")


@contextmanager
def continuing(envelope: Envelope) -> Iterator[None]:
    """Encode what follows from one of many events in that event's trace.

    A no-op where a span is current: then the event is alone, and the span is its own.
    """
    if get_current_span().get_span_context().is_valid:
        yield
        return
    token = attach(extract_context({"traceparent": envelope.traceparent, "tracestate": envelope.tracestate}))
    try:
        yield
    finally:
        detach(token)


def _of_sending(outgoing: Outgoing) -> dict[Attribute, str]:
    if not collected():
        return {}
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": outgoing.topic,
        "messaging.message.id": outgoing.envelope.id,
        "messaging.message.conversation_id": outgoing.envelope.correlation_id,
        "messaging.kafka.message.key": hash_key(outgoing.key.encode()),
    }


def _of_processing(received: Received, headers: Mapping[str, str], group: str) -> dict[Attribute, str | int]:
    if not collected():
        return {}
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": received.topic,
        "messaging.destination.partition.id": str(received.partition),
        "messaging.consumer.group.name": group,
        "messaging.kafka.offset": received.offset,
        "messaging.kafka.message.key": hash_key(received.key or b""),
        "messaging.message.id": headers.get("ce_id", ""),
        "messaging.message.conversation_id": headers.get("ce_correlationid", ""),
        "messaging.message.body.size": len(received.value or b""),
    }


def _parent(headers: Mapping[str, str]) -> Context:
    return extract_context({name: headers.get(f"ce_{name}", "") for name in ("traceparent", "tracestate")})


def hash_key(key: bytes) -> str:
    """Return a short hash of a message key: the same key can be followed, the key itself not read."""
    return hashlib.sha256(key).hexdigest()[:_KEY_HASH_DIGITS] if key else ""
