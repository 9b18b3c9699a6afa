"""A process that nobody collects from makes no spans and breaks no trace."""

import pytest
from headrace_telemetry import collected, extract_context, inject_context, span, stream_span, trace_id_of, tracing
from headrace_telemetry.propagation import PropagatingTracer
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(autouse=True)
def uncollected(monkeypatch):
    """Let spans go nowhere."""
    monkeypatch.setattr(tracing, "_TRACER", PropagatingTracer())


def arrived(flags="01", state="vendor=1"):
    """Return the context that came with a message."""
    return extract_context({"traceparent": f"00-{TRACE}-{PARENT}-{flags}", "tracestate": state})


def test_what_came_is_passed_on_as_it_came():
    """Whoever is collected from next is the child of whoever was last: no parent is missing between them."""
    for flags in ("01", "00"):  # whether it is sampled, others have decided
        with span("process", parent=arrived(flags)), span("inner"):
            assert inject_context() == {"traceparent": f"00-{TRACE}-{PARENT}-{flags}", "tracestate": "vendor=1"}


def test_what_comes_without_a_trace_gets_one():
    """One for all that follows from it, to be collected by others; another for the next."""
    seen = set()
    for _ in range(2):
        with span("ask"):
            outer = inject_context()["traceparent"]
            with span("send"):
                assert inject_context()["traceparent"] == outer
        assert outer.endswith("-01")
        seen.add(trace_id_of(outer))
    assert len(seen) == 2
    assert inject_context() == {}


def test_a_stream_passes_its_context_on_without_being_current():
    """As with spans: it may end in another task."""
    with stream_span("stream", kind=trace.SpanKind.SERVER, parent=arrived()) as context:
        assert inject_context() == {}
        assert inject_context(context)["traceparent"] == f"00-{TRACE}-{PARENT}-01"


def test_an_error_passes_through():
    """There is no span to mark."""
    with pytest.raises(KeyError), span("process", parent=arrived()):
        raise KeyError
    assert inject_context() == {}


def test_what_is_collected_stays_a_span_of_its_own(monkeypatch):
    """A span that is recorded is the parent of what follows, as ever."""
    monkeypatch.setattr(tracing, "_TRACER", TracerProvider().get_tracer("test"))
    assert collected()
    with span("process", parent=arrived()) as current:
        assert current.is_recording()
        assert inject_context()["traceparent"].split("-")[1:3] == [TRACE, f"{current.get_span_context().span_id:016x}"]
