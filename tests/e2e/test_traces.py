"""One trace spans a request: asserted by its edges, from the spans that the services exported."""

import time
from typing import get_args

import pytest
from headrace_telemetry import Attribute

from .folders import QUESTIONS, write_documents

pytestmark = pytest.mark.e2e

EDGES = {
    ("moderate:process headrace.query.requested.v1", "moderate:send headrace.moderate.query-admitted.v1"),
    ("moderate:send headrace.moderate.query-admitted.v1", "retrieve:process headrace.moderate.query-admitted.v1"),
    ("retrieve:process headrace.moderate.query-admitted.v1", "retrieve:send headrace.retrieve.context-retrieved.v1"),
    ("retrieve:send headrace.retrieve.context-retrieved.v1", "generate:process headrace.retrieve.context-retrieved.v1"),
    ("generate:send headrace.generate.answer-drafted.v1", "moderate:process headrace.generate.answer-drafted.v1"),
    ("generate:send headrace.usage.recorded.v1", "meter:process headrace.usage.recorded.v1"),
    ("moderate:send headrace.answer.completed.v1", "meter:process headrace.answer.completed.v1"),
    ("retrieve:headrace.embed.v1.EmbedService/Embed", "embed:headrace.embed.v1.EmbedService/Embed"),
    ("generate:headrace.moderate.v1.ModerateService/Check", "moderate:headrace.moderate.v1.ModerateService/Check"),
    ("generate:headrace.meter.v1.MeterService/Reserve", "meter:headrace.meter.v1.MeterService/Reserve"),
}


def test_one_trace_spans_every_hop_and_call(platform, collector, tmp_path):
    """From the question to the rated cost, each Kafka hop and gRPC call continues its parent's trace."""
    write_documents(tmp_path)
    platform.run("ingest", str(tmp_path), "--wait")
    trace_id = platform.run("ask", next(iter(QUESTIONS)), "--json").json()["trace_id"]
    until = time.monotonic() + 15
    while (missing := EDGES - collector.edges(trace_id)) and time.monotonic() < until:
        time.sleep(0.2)
    assert not missing, sorted(collector.edges(trace_id))
    named = {name for span in collector.trace(trace_id) for name in span.attributes}
    assert named <= set(get_args(Attribute))


def test_no_text_reaches_spans_or_logs(platform, collector, tmp_path):
    """A marker in the document and one in the question are nowhere but in the stores and on the topics."""
    (tmp_path / "marker.md").write_text("The zanzibarquux gauge reads forty-one fathoms at the weir.\n")
    platform.run("ingest", str(tmp_path), "--wait")
    platform.run("ask", "What does the zanzibarquux gauge read, plomborello?", "--json")
    time.sleep(1)
    logs = "".join(log.read_text(errors="replace") for log in (platform.data_dir / "logs").glob("*.log"))
    spans = repr([(span.name, span.attributes, span.events) for span in collector.spans])
    for marker in ("zanzibarquux", "plomborello", "forty-one fathoms"):
        assert marker not in logs
        assert marker not in spans
    assert collector.spans
