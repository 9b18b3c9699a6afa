"""One trace through a publisher, a handler, an outbox and the next handler."""

from itertools import pairwise

import pytest
from bus_driving import ask, until
from headrace.topics import QUERY_ADMITTED, QUERY_REQUESTED, topic
from headrace_messaging import SubscriberOptions, Subscription, follow
from headrace_telemetry import span, tracing
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

FAST = SubscriberOptions(commit_interval_ms=20)


@pytest.fixture
def spans(monkeypatch):
    """Collect finished spans, without touching the process's own provider."""
    collected, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(collected))
    monkeypatch.setattr(tracing, "_TRACER", provider.get_tracer("test"))
    return collected


async def test_each_process_span_is_the_child_of_the_span_that_sent_it(publisher, consuming, spans):
    """The edges request -> send -> process -> send -> process, all in one trace."""
    arrived = []

    async def admit(event):
        return [follow(event, QUERY_ADMITTED, topic(QUERY_ADMITTED).message(), stage="moderate")]

    async def arrive(event):
        arrived.append(event)
        return ()

    async with (
        consuming(Subscription(QUERY_REQUESTED, admit, admit), options=FAST),
        consuming(Subscription(QUERY_ADMITTED, arrive, arrive), options=FAST, group="retrieve"),
    ):
        with span("request"):
            await publisher.publish(ask(0, key="secret key", correlation_id="r1"))
        await until(lambda: arrived and len(spans.get_finished_spans()) == 5)
    by_name = {each.name: each for each in spans.get_finished_spans()}
    chain = [
        "request",
        f"send {QUERY_REQUESTED}",
        f"process {QUERY_REQUESTED}",
        f"send {QUERY_ADMITTED}",
        f"process {QUERY_ADMITTED}",
    ]
    assert by_name.keys() == set(chain)
    for parent, child in pairwise(chain):
        assert by_name[child].parent.span_id == by_name[parent].context.span_id
        assert by_name[child].context.trace_id == by_name["request"].context.trace_id


async def test_messaging_spans_say_what_the_conventions_ask_and_hash_the_key(publisher, consuming, spans):
    """Names, kinds and attributes of OpenTelemetry's messaging conventions; no key and no content."""
    arrived = []

    async def arrive(event):
        arrived.append(event)
        return ()

    async with consuming(Subscription(QUERY_REQUESTED, arrive, arrive), options=FAST):
        await publisher.publish(ask(7, key="secret key", correlation_id="r1"))
        await until(lambda: arrived and len(spans.get_finished_spans()) == 2)
    sent, processed = sorted(spans.get_finished_spans(), key=lambda each: each.name, reverse=True)
    assert (sent.kind, processed.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert dict(processed.attributes) == dict(processed.attributes) | {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": QUERY_REQUESTED,
        "messaging.consumer.group.name": "moderate",
        "messaging.message.id": "q7",
        "messaging.message.conversation_id": "r1",
        "messaging.kafka.offset": 0,
    }
    for each in (sent, processed):
        assert "secret" not in str(dict(each.attributes))
        assert len(each.attributes["messaging.kafka.message.key"]) == 16
