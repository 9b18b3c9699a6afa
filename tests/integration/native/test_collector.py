"""deploy/otel/collector.yaml on a real Jaeger: what services count is scraped under the vocabulary's names."""

import asyncio
import os
import re
import urllib.request
from pathlib import Path

import pytest
from headrace_native import ServerMissing, jaeger
from headrace_native.ports import HOST, free_ports
from headrace_native.process import Process
from headrace_native.readiness import answers
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

CONFIGURATION = Path(__file__).parents[3] / "deploy" / "otel" / "collector.yaml"


@pytest.fixture
def collector(native_servers, tmp_path):
    """Start Jaeger with the configuration of compose on free ports; return its OTLP and its metrics URL."""
    if not jaeger.PROGRAM.is_built() and os.environ.get("HEADRACE_REQUIRE_SERVERS") != "1":
        pytest.skip("no jaeger here: python -m headrace_native build jaeger")
    text = CONFIGURATION.read_text(encoding="utf-8")
    fixed = sorted(set(re.findall(r"0\.0\.0\.0:(\d+)", text)))
    ports = dict(zip(fixed, free_ports(len(fixed)), strict=True))
    moved = re.sub(r"0\.0\.0\.0:(\d+)", lambda found: f"{HOST}:{ports[found[1]]}", text)
    (tmp_path / "collector.yaml").write_text(moved, encoding="utf-8")
    try:
        binary = jaeger.PROGRAM.build() / "bin" / "jaeger"
    except ServerMissing as missing:
        pytest.fail(str(missing))
    process = Process(
        "jaeger",
        [str(binary), "--config", str(tmp_path / "collector.yaml")],
        log=tmp_path / "log",
        ready=answers(ports["13133"], "/status"),
    )
    try:
        process.start()
        process.wait_ready()
        yield f"http://{HOST}:{ports['4317']}", f"http://{HOST}:{ports['8889']}/metrics"
    finally:
        process.stop()


async def test_metrics_keep_their_names_and_say_whose_they_are(collector):
    """Dots become underscores and nothing is added; service and replica are the labels `job` and `instance`."""
    otlp, scraped = collector
    service = Resource.create(
        {"service.name": "meter", "service.namespace": "headrace", "service.instance.id": "replica-1"}
    )
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(otlp, insecure=True), export_interval_millis=3_600_000)
    provider = MeterProvider([reader], service)
    meter = provider.get_meter("headrace")
    meter.create_counter("headrace.cost", unit="u{currency}").add(12, {"gen_ai.request.model": "small"})
    meter.create_gauge("headrace.conservation.difference", unit="1").set(3, {"headrace.book": "holds"})
    meter.create_histogram("messaging.process.duration", unit="s").record(0.5, {"headrace.outcome": "done"})
    provider.shutdown()

    text = await _text_with(scraped, "messaging_process_duration_bucket")

    assert _labels(text, "headrace_cost", "12") >= {'gen_ai_request_model="small"', 'job="headrace/meter"'}
    assert _labels(text, "headrace_conservation_difference", "3") >= {'headrace_book="holds"', 'instance="replica-1"'}


async def _text_with(url: str, expected: str) -> str:
    async with asyncio.timeout(60):
        while True:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: ASYNC210, S310 - our own server
                text = answer.read().decode()
            if expected in text:
                return text
            await asyncio.sleep(0.1)


def _labels(text: str, name: str, value: str) -> set[str]:
    (found,) = re.findall(rf"^{name}{{(.*)}} {value}$", text, re.MULTILINE)
    return set(re.findall(r'\w+="[^"]*"', found))
