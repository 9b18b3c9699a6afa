"""Jaeger 2, in memory, built from its Go module: an OpenTelemetry collector with storage and query.

The API is whole; the web page is a placeholder, because the module carries no built page. Metrics that come in over
OTLP are shown to Prometheus.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from headrace_native import go
from headrace_native.ports import HOST, free_ports
from headrace_native.process import Process
from headrace_native.readiness import answers
from headrace_native.server import Recipe, Server

VERSION = "1.76.0"  # the module's last version without a major version in its path; it holds Jaeger 2
PROGRAM = go.program_with_replaces(
    "jaeger", "github.com/jaegertracing/jaeger", VERSION, "github.com/jaegertracing/jaeger/cmd/jaeger"
)
TRACES_MAX = 100_000


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Start Jaeger; `address` is the URL of its query API (`/api/traces`, `/api/v3`). Nothing is kept."""
    binary = PROGRAM.build() / "bin" / "jaeger"
    ports = _Ports(*free_ports(len(_Ports._fields)))
    configuration = folder / "jaeger.json"
    folder.mkdir(parents=True, exist_ok=True)
    configuration.write_text(json.dumps(_configuration(ports)))
    process = Process(
        "jaeger",
        [str(binary), "--config", str(configuration)],
        log=folder / "jaeger.log",
        ready=answers(ports.health, "/status"),
    )
    try:
        process.start()
        process.wait_ready()
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{HOST}:{ports.otlp}"}
        address = f"http://{HOST}:{ports.query}"
        yield Server("jaeger", folder, VERSION, address, environment, (process,), metrics=f"{HOST}:{ports.metrics}")
    finally:
        process.stop()


class _Ports(NamedTuple):
    otlp: int
    otlp_http: int
    query: int
    query_grpc: int
    health: int
    metrics: int


def _configuration(ports: _Ports) -> dict[str, Any]:
    """Return its all-in-one configuration less what binds fixed ports, and with metrics passed on to Prometheus."""
    return {
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query", "healthcheckv2"],
            "pipelines": {
                "traces": {"receivers": ["otlp"], "processors": ["batch"], "exporters": ["jaeger_storage_exporter"]},
                "metrics": {"receivers": ["otlp"], "exporters": ["prometheus"]},
            },
            "telemetry": {"metrics": {"level": "none"}},
        },
        "extensions": {
            "jaeger_query": {
                "storage": {"traces": "memory"},
                "http": {"endpoint": f"{HOST}:{ports.query}"},
                "grpc": {"endpoint": f"{HOST}:{ports.query_grpc}"},
            },
            "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": TRACES_MAX}}}},
            "healthcheckv2": {"use_v2": True, "http": {"endpoint": f"{HOST}:{ports.health}"}},
        },
        "receivers": {
            "otlp": {
                "protocols": {
                    "grpc": {"endpoint": f"{HOST}:{ports.otlp}"},
                    "http": {"endpoint": f"{HOST}:{ports.otlp_http}"},
                }
            }
        },
        "processors": {"batch": {"timeout": "200ms"}},
        "exporters": {
            "jaeger_storage_exporter": {"trace_storage": "memory"},
            "prometheus": {
                "endpoint": f"{HOST}:{ports.metrics}",
                "resource_to_telemetry_conversion": {"enabled": True},  # so that a row names its service
            },
        },
    }


RECIPE = Recipe("jaeger", lambda: VERSION, PROGRAM.is_built, PROGRAM.build, build_s=300, serve=serve)
