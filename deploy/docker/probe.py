"""An image's health check: exits 0 when the service in this container takes work, 1 when it does not.

It asks gRPC health on the port of HEADRACE_GRPC__LISTEN (or the address given), as any orchestrator could. It imports
nothing of ours: it runs every few seconds in every container, and the runtime takes a second of CPU to import.
"""

from __future__ import annotations

import os
import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

TIMEOUT_S = 3.0


def serving(address: str, *, timeout_s: float = TIMEOUT_S) -> bool:
    """Ask the health service at host:port; False when it says otherwise, or nothing within `timeout_s`. Blocks."""
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def main() -> None:
    """Probe the address of the first argument, else this container's own port."""
    port = os.environ.get("HEADRACE_GRPC__LISTEN", "").rpartition(":")[2]
    address = sys.argv[1] if len(sys.argv) > 1 else f"127.0.0.1:{port}"
    sys.exit(0 if serving(address) else 1)


if __name__ == "__main__":
    main()
