"""Jaeger and Prometheus are real: what is sent to one can be asked for, what the other scrapes can be queried."""

import asyncio
import json
import urllib.request
from urllib.parse import quote

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor


async def until_found(url, found):
    """Ask until the answer holds what is waited for, and return it."""
    async with asyncio.timeout(20):
        while True:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: ASYNC210, S310 - our own server
                data = json.loads(answer.read())["data"]
            if data and found(data):
                return data
            await asyncio.sleep(0.1)


@pytest.fixture
def tracer(own_server):
    """Trace to a Jaeger of the test's own, and say where it is."""
    server = own_server("jaeger")
    provider = TracerProvider(resource=Resource.create({"service.name": "tested"}))
    exporter = OTLPSpanExporter(server.environment["OTEL_EXPORTER_OTLP_ENDPOINT"], insecure=True)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("test"), server.address
    provider.shutdown()


async def test_a_span_that_was_sent_is_found(tracer):
    """Over OTLP in, by the query API out."""
    traces, address = tracer
    with traces.start_as_current_span("one hop") as span:
        trace_id = format(span.get_span_context().trace_id, "032x")
    (trace,) = await until_found(f"{address}/api/traces?service=tested", bool)
    assert (trace["traceID"], trace["spans"][0]["operationName"]) == (trace_id, "one hop")


async def test_prometheus_scrapes_and_answers(own_server):
    """It has scraped itself: `up` is 1."""
    server = own_server("prometheus")
    query = quote('up{job="prometheus"}')
    data = await until_found(f"{server.address}/api/v1/query?query={query}", lambda data: data["result"])
    assert data["result"][0]["value"][1] == "1"
