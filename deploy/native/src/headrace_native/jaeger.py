"""Jaeger 2, in memory, built from its Go module: an OpenTelemetry collector with storage and query.

The API is whole; the web page is a placeholder, because the module carries no built page.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
    otlp_port, otlp_http_port, query_port, query_grpc_port, health_port = free_ports(5)
    configuration = folder / "jaeger.json"
    folder.mkdir(parents=True, exist_ok=True)
    configuration.write_text(
        json.dumps(_configuration(otlp_port, otlp_http_port, query_port, query_grpc_port, health_port))
    )
    process = Process(
        "jaeger",
        [str(binary), "--config", str(configuration)],
        log=folder / "jaeger.log",
        ready=answers(health_port, "/status"),
    )
    try:
        process.start()
        process.wait_ready()
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{HOST}:{otlp_port}"}
        yield Server("jaeger", VERSION, f"http://{HOST}:{query_port}", environment, (process,))
    finally:
        process.stop()


def _configuration(otlp: int, otlp_http: int, query: int, query_grpc: int, health: int) -> dict[str, Any]:
    """Return its all-in-one configuration less what binds fixed ports."""
    return {
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query", "healthcheckv2"],
            "pipelines": {
                "traces": {"receivers": ["otlp"], "processors": ["batch"], "exporters": ["jaeger_storage_exporter"]}
            },
            "telemetry": {"metrics": {"level": "none"}},
        },
        "extensions": {
            "jaeger_query": {
                "storage": {"traces": "memory"},
                "http": {"endpoint": f"{HOST}:{query}"},
                "grpc": {"endpoint": f"{HOST}:{query_grpc}"},
            },
            "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": TRACES_MAX}}}},
            "healthcheckv2": {"use_v2": True, "http": {"endpoint": f"{HOST}:{health}"}},
        },
        "receivers": {
            "otlp": {
                "protocols": {
                    "grpc": {"endpoint": f"{HOST}:{otlp}"},
                    "http": {"endpoint": f"{HOST}:{otlp_http}"},
                }
            }
        },
        "processors": {"batch": {"timeout": "200ms"}},
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
    }


RECIPE = Recipe("jaeger", lambda: VERSION, PROGRAM.is_built, PROGRAM.build, build_s=300, serve=serve)
