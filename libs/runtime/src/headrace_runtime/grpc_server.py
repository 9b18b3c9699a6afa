"""The gRPC server of a service: health, reflection, limits. What a call goes through is in grpc_calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from headrace_runtime.grpc_calls import CallInterceptor
from headrace_runtime.settings import GrpcSettings


@dataclass(frozen=True)
class Rpc:
    """One gRPC service: its full name and the function that adds its servicer to a server."""

    full_name: str
    add_to: Callable[[grpc.aio.Server], None]


class CannotBind(RuntimeError):
    """The address is taken: another process has it, and this service cannot serve there."""


class RpcServer:
    """A gRPC server with health and reflection; `port` is the bound one. Not ready until told so.

    Raises CannotBind where the address cannot be had.
    """

    def __init__(self, settings: GrpcSettings, services: Sequence[Rpc]) -> None:
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            interceptors=[CallInterceptor()],
            maximum_concurrent_rpcs=settings.concurrent_calls_max,
            options=[
                ("grpc.max_receive_message_length", settings.message_bytes_max),
                ("grpc.max_send_message_length", settings.message_bytes_max),
                ("grpc.so_reuseport", 0),  # a second process on our port is a mistake, not a replica
            ],
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        for service in services:
            service.add_to(self._server)
        if settings.reflection:
            names = [service.full_name for service in services]
            reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server)
        try:
            self.port: int = self._server.add_insecure_port(settings.listen)
        except RuntimeError as error:
            raise CannotBind(f"cannot serve on {settings.listen}") from error

    async def start(self) -> None:
        """Take calls; health says NOT_SERVING until `set_ready(True)`."""
        await self.set_ready(False)
        await self._server.start()

    async def set_ready(self, ready: bool) -> None:
        """Tell health checks whether the service takes work."""
        status = health_pb2.HealthCheckResponse
        await self._health.set("", status.SERVING if ready else status.NOT_SERVING)

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, let running ones finish for `grace_s` seconds, then cancel them."""
        await self.set_ready(False)
        await self._server.stop(grace_s)
