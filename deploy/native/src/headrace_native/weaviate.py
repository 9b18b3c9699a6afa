"""Weaviate, built from its Go module: one node, no vectoriser (vectors are ours), no telemetry home."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace_native import go
from headrace_native.ports import HOST, free_ports
from headrace_native.process import Process
from headrace_native.readiness import answers
from headrace_native.server import Recipe, Server

VERSION = "1.35.2"
PROGRAM = go.program("weaviate-server", "github.com/weaviate/weaviate/cmd/weaviate-server", VERSION)
# A node of one would bind fixed ports for its peers: each gets a free one.
_PEER_PORTS = (
    "CLUSTER_GOSSIP_BIND_PORT",
    "CLUSTER_DATA_BIND_PORT",
    "RAFT_PORT",
    "RAFT_INTERNAL_RPC_PORT",
    "PROFILING_PORT",
)


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Start a node; everybody on the loopback may use it. `address` is `host:port` of its REST interface."""
    binary = PROGRAM.build() / "bin" / "weaviate-server"
    port, grpc_port, *peer_ports = free_ports(2 + len(_PEER_PORTS))
    process = Process(
        "weaviate",
        [str(binary), "--host", HOST, "--port", str(port), "--scheme", "http"],
        log=folder / "weaviate.log",
        ready=answers(port, "/v1/.well-known/ready"),
        environment={
            "PERSISTENCE_DATA_PATH": str(folder / "data"),
            "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "true",
            "DEFAULT_VECTORIZER_MODULE": "none",
            "DISABLE_TELEMETRY": "true",
            # Before 1.38 the new word index drops rare words from rankings (weaviate/weaviate#11779, #11780).
            "USE_INVERTED_SEARCHABLE": "false",
            "CLUSTER_HOSTNAME": "node1",
            "CLUSTER_ADVERTISE_ADDR": HOST,
            "GRPC_PORT": str(grpc_port),
            **dict(zip(_PEER_PORTS, map(str, peer_ports), strict=True)),
        },
    )
    try:
        process.start()
        process.wait_ready()
        url = f"weaviate://{HOST}:{port}?grpc_port={grpc_port}"
        yield Server("weaviate", folder, VERSION, f"{HOST}:{port}", {"HEADRACE_RETRIEVE__STORE_URL": url}, (process,))
    finally:
        process.stop()


RECIPE = Recipe("weaviate", lambda: VERSION, PROGRAM.is_built, PROGRAM.build, build_s=300, serve=serve)
