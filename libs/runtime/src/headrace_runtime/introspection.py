"""IntrospectionService: what a service tells the supervisor and `headrace status` of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import grpc
from headrace.runtime.v1 import introspection_service_pb2 as pb
from headrace.runtime.v1 import introspection_service_pb2_grpc as pb_grpc
from headrace_messaging.outbox import Relay

from headrace_runtime.grpc_server import Rpc
from headrace_runtime.subscribers import Subscribers

FULL_NAME = pb.DESCRIPTOR.services_by_name["IntrospectionService"].full_name


class Introspection(pb_grpc.IntrospectionServiceServicer):
    """Answers from the running parts; reveals nothing of any tenant."""

    def __init__(self, service: str, version: str, relays: list[Relay], is_ready: Callable[[], bool]) -> None:
        self._service, self._version, self._relays, self._is_ready = service, version, relays, is_ready
        self.subscribers = Subscribers(())

    async def GetStatus(  # noqa: N802 - the name is the contract's
        self, _request: pb.GetStatusRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetStatusResponse:
        """Say where the service stands."""
        lag = self._lag_by_topic()
        return pb.GetStatusResponse(
            service=self._service,
            ready=self._is_ready(),
            lag=sum(lag.values()),
            in_flight=self.subscribers.in_flight,
            outbox_pending=sum([await relay.pending() for relay in self._relays]),
            version=self._version,
            lag_by_topic=lag,
        )

    def rpc(self) -> Rpc:
        """Return this as a part of a server."""
        return Rpc(FULL_NAME, lambda server: pb_grpc.add_IntrospectionServiceServicer_to_server(self, server))

    def _lag_by_topic(self) -> Counter[str]:
        lag: Counter[str] = Counter()
        for (topic, _partition), behind in self.subscribers.lag().items():
            lag[topic] += behind
        return lag
