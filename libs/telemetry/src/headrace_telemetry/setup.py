"""Sets a process's telemetry up: trace ids always, spans only where OTEL_EXPORTER_OTLP_ENDPOINT points.

Sampling, headers and timeouts are OpenTelemetry's own environment variables.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from headrace_telemetry.logs import LogFormat, configure_logs
from headrace_telemetry.tracing import pass_traces_on

SCHEDULE_DELAY_MS = 200


@dataclass(frozen=True)
class Telemetry:
    """What `configure` set up, to be closed at the end so that the last spans leave."""

    providers: tuple[TracerProvider | MeterProvider, ...]
    """None of them where traces and metrics go nowhere."""

    def close(self) -> None:
        """Flush and stop; blocks for at most the exporters' timeouts."""
        for provider in self.providers:
            provider.shutdown()


def configure(service: str, *, version: str, log_level: str = "info", log_format: LogFormat = "json") -> Telemetry:
    """Configure logs, traces and metrics of this process; once per process, before anything is built."""
    configure_logs(service, level=log_level, log_format=log_format)
    if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        pass_traces_on()
        metrics.set_meter_provider(metrics.NoOpMeterProvider())
        return Telemetry(())
    # Imported here: without an endpoint nobody pays for the exporter.
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    resource = _resource(service, version)
    traces = TracerProvider(resource=resource)
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=SCHEDULE_DELAY_MS))
    measured = MeterProvider(resource=resource, metric_readers=[PeriodicExportingMetricReader(OTLPMetricExporter())])
    trace.set_tracer_provider(traces)
    metrics.set_meter_provider(measured)
    return Telemetry((traces, measured))


def _resource(service: str, version: str) -> Resource:
    return Resource.create(
        {
            "service.name": service,
            "service.namespace": "headrace",
            "service.version": version,
            # Without it the metrics of two replicas are one series that jumps between them.
            "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
        }
    )
