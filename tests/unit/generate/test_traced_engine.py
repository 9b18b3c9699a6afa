"""A model call's span: the GenAI names, and nothing that anybody wrote."""

from datetime import UTC, datetime

import pytest
from headrace_generate.adapters.traced_engine import TracedEngine
from headrace_generate.catalogue import ModelCard
from headrace_generate.domain import AttemptFailed, Message
from headrace_generate.ports import ModelCall
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

CALL = ModelCall("attempt-1", "r1", 2, (Message("user", "secret question"),), 50, datetime(2026, 11, 21, tzinfo=UTC))
HOSTED = ModelCard(
    name="hosted",
    kind="openai",
    provider="acme",
    base_url="https://llm.acme.example/v1",
    model="big-1",
    context_tokens=4096,
    output_tokens_max=50,
)


@pytest.fixture
def spans(monkeypatch):
    collected, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(collected))
    monkeypatch.setattr("headrace_telemetry.tracing._TRACER", provider.get_tracer("test"))
    yield collected
    provider.shutdown()


async def test_a_hosted_call_is_a_client_span_with_its_usage(world, spans):
    """Asked, answered, used; the endpoint's host; no prompt and no answer."""
    world.engine.script = ["secret answer"]
    await TracedEngine(world.engine, HOSTED).generate(CALL, lambda _tokens: None)
    (span,) = spans.get_finished_spans()
    assert (span.name, span.kind) == ("chat big-1", SpanKind.CLIENT)
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "acme",
        "gen_ai.request.model": "big-1",
        "gen_ai.request.max_tokens": 50,
        "gen_ai.response.id": "response-1",
        "gen_ai.response.model": "model-1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 10,
        "gen_ai.usage.cache_read.input_tokens": 5,
        "server.address": "llm.acme.example",
        "headrace.request.id": "r1",
        "headrace.attempt": 2,
    }
    assert expected.items() <= dict(span.attributes).items()
    assert "secret" not in span.to_json()


async def test_a_local_call_is_an_internal_span(world, spans):
    """There is no other side to wait for."""
    await TracedEngine(world.engine, world.card).generate(CALL, lambda _tokens: None)
    (span,) = spans.get_finished_spans()
    assert (span.name, span.kind) == ("chat small", SpanKind.INTERNAL)


async def test_a_failed_call_says_why_by_its_code(world, spans):
    """The exception's class and the attempt's reason; the error goes on."""
    world.engine.script = [AttemptFailed("provider_429")]
    with pytest.raises(AttemptFailed):
        await TracedEngine(world.engine, HOSTED).generate(CALL, lambda _tokens: None)
    (span,) = spans.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes["error.type"], span.attributes["headrace.reason"]) == ("AttemptFailed", "provider_429")
