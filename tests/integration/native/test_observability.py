"""Jaeger and Prometheus are real: a span that is sent to one and a count that the other scrapes can be asked for."""

import asyncio
import json
import urllib.request

import pytest
from headrace_native import prometheus
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor


async def until_found(url, found):
    """Ask until the answer holds what is waited for, and return it."""
    async with asyncio.timeout(60):
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


@pytest.fixture
def meters(own_server):
    """Measure to that Jaeger, which a Prometheus of the test's own scrapes; say where it is."""
    jaeger = own_server("jaeger")
    exporter = OTLPMetricExporter(jaeger.environment["OTEL_EXPORTER_OTLP_ENDPOINT"], insecure=True)
    provider = MeterProvider([PeriodicExportingMetricReader(exporter)])
    server = own_server("prometheus")
    prometheus.scrape(server, [jaeger.metrics])
    yield provider, server.address
    provider.shutdown()


async def test_a_count_that_was_sent_can_be_queried(meters):
    """Over OTLP to the collector, by a scrape into Prometheus, out by its query API."""
    provider, address = meters
    provider.get_meter("test").create_counter("things.counted").add(3)
    provider.force_flush()
    data = await until_found(f"{address}/api/v1/query?query=things_counted_total", lambda data: data["result"])
    assert data["result"][0]["value"][1] == "3"
