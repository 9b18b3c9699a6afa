"""One trace spans a request: asserted by its edges, from the spans that the services exported."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest
from headrace_telemetry import Attribute

from .folders import UNANSWERABLE

pytestmark = pytest.mark.e2e
CLIENT = str(Path(__file__).with_name("traced_client.py"))

REQUEST = {
    ("client:send headrace.query.requested.v1", "moderate:process headrace.query.requested.v1"),
    ("moderate:process headrace.query.requested.v1", "moderate:send headrace.moderate.query-admitted.v1"),
    ("moderate:send headrace.moderate.query-admitted.v1", "retrieve:process headrace.moderate.query-admitted.v1"),
    ("retrieve:process headrace.moderate.query-admitted.v1", "retrieve:send headrace.retrieve.context-retrieved.v1"),
    ("retrieve:send headrace.retrieve.context-retrieved.v1", "generate:process headrace.retrieve.context-retrieved.v1"),
    ("generate:send headrace.generate.answer-drafted.v1", "moderate:process headrace.generate.answer-drafted.v1"),
    ("generate:send headrace.usage.recorded.v1", "meter:process headrace.usage.recorded.v1"),
    ("moderate:send headrace.answer.completed.v1", "meter:process headrace.answer.completed.v1"),
    ("meter:process headrace.usage.recorded.v1", "meter:send headrace.cost.recorded.v1"),
    ("moderate:send headrace.audit.submitted.v1", "audit:process headrace.audit.submitted.v1"),
    ("generate:send headrace.audit.submitted.v1", "audit:process headrace.audit.submitted.v1"),
    ("audit:process headrace.audit.submitted.v1", "audit:send headrace.audit.recorded.v1"),
    ("embed:send headrace.usage.recorded.v1", "meter:process headrace.usage.recorded.v1"),
    ("retrieve:headrace.embed.v1.EmbedService/Embed", "embed:headrace.embed.v1.EmbedService/Embed"),
    ("generate:headrace.embed.v1.EmbedService/Embed", "embed:headrace.embed.v1.EmbedService/Embed"),
    ("generate:headrace.moderate.v1.ModerateService/Check", "moderate:headrace.moderate.v1.ModerateService/Check"),
    ("generate:headrace.meter.v1.MeterService/Reserve", "meter:headrace.meter.v1.MeterService/Reserve"),
}
REFUSED = {
    ("generate:process headrace.retrieve.context-retrieved.v1", "generate:send headrace.request.ended.v1"),
    ("generate:send headrace.request.ended.v1", "moderate:process headrace.request.ended.v1"),
}
DOCUMENT = {
    ("client:headrace.ingest.v1.IngestService/Submit", "ingest:headrace.ingest.v1.IngestService/Submit"),
    ("ingest:headrace.ingest.v1.IngestService/Submit", "ingest:send headrace.document.status.v1"),
    ("ingest:send headrace.audit.submitted.v1", "audit:process headrace.audit.submitted.v1"),
    ("ingest:send headrace.ingest.chunks-created.v1", "embed:process headrace.ingest.chunks-created.v1"),
    ("embed:send headrace.usage.recorded.v1", "meter:process headrace.usage.recorded.v1"),
    ("embed:send headrace.embed.chunks-embedded.v1", "retrieve:process headrace.embed.chunks-embedded.v1"),
    ("retrieve:send headrace.retrieve.document-changed.v1", "ingest:process headrace.retrieve.document-changed.v1"),
    ("ingest:process headrace.retrieve.document-changed.v1", "ingest:send headrace.document.status.v1"),
}


@pytest.fixture(scope="module")
def traced(platform, collector, tmp_path_factory):
    """Hand in a document and ask about it, as a program whose own spans are exported; return the trace ids."""
    document = tmp_path_factory.mktemp("traced") / "traced.md"  # no other test's: the same bytes again make no version
    document.write_text("The Tarnmoor sluice is raised at six in the morning.\n")
    ran = subprocess.run(
        [sys.executable, CLIENT, str(platform.data_dir), str(document), "When is the Tarnmoor sluice raised?"],
        env=os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["outcome"] == "answered"
    return found


def assert_edges(collector, trace_id: str, wanted: set[tuple[str, str]]) -> None:
    """Wait until a trace has all edges; services export theirs now and then."""
    until = time.monotonic() + 15
    while (missing := wanted - collector.edges(trace_id)) and time.monotonic() < until:
        time.sleep(0.2)
    assert not missing, sorted(collector.edges(trace_id))
    named = {name for span in collector.trace(trace_id) for name in span.attributes}
    assert named <= set(get_args(Attribute))


def test_one_trace_spans_every_hop_and_call(traced, collector):
    """From the client's question to the rated cost and the audit's chain, each hop and call continues its parent's."""
    assert_edges(collector, traced["request"], REQUEST)


def test_one_trace_spans_a_refusal(traced, platform, collector):
    """The service that ends a request tells moderate in the request's own trace."""
    refused = platform.run("ask", UNANSWERABLE, "--json").json()
    assert refused["outcome"] == "refused"
    assert_edges(collector, refused["trace_id"], REFUSED)


def test_one_trace_spans_a_document(traced, collector):
    """From the call that hands it in, through every stage, to the status that says that it is searchable."""
    assert_edges(collector, traced["document"], DOCUMENT)


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
