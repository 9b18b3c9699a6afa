"""The probe in an image says what the service's gRPC health says."""

import asyncio
import sys
from pathlib import Path

import pytest
from headrace_runtime.grpc_server import RpcServer
from headrace_runtime.settings import GrpcSettings

PROBE = Path(__file__).parents[2] / "deploy" / "docker" / "probe.py"


async def probe(port: int) -> int:
    command = [sys.executable, PROBE, f"127.0.0.1:{port}"]
    return await (await asyncio.create_subprocess_exec(*command)).wait()


@pytest.mark.parametrize(("ready", "status"), [(True, 0), (False, 1)])
async def test_a_service_is_healthy_once_it_takes_work(ready, status):
    """Exit 0 when it takes work, 1 while it starts or drains."""
    server = RpcServer(GrpcSettings(), [])
    await server.start()
    await server.set_ready(ready)
    try:
        assert await probe(server.port) == status
    finally:
        await server.stop(0)


async def test_nobody_there_is_not_healthy():
    """Exit 1 where nothing listens."""
    assert await probe(1) == 1
