"""Asks meter and reads the topics for every tenant: for who runs the platform, not for a tenant's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from headrace.meter.v1 import meter_service_pb2, meter_service_pb2_grpc
from headrace_errors import InvalidMessage
from headrace_messaging import Bus, Codec, Event, Outgoing, Publisher
from headrace_messaging.consuming.partitions import Place
from headrace_messaging.consuming.ranges import bounds, read_ranges
from headrace_runtime import EVERYONE, CallContext, Peer
from headrace_storage import BlobStore

from headrace_client.costs.held import Held
from headrace_client.endpoints import Endpoints

CALL_TIMEOUT_S = 60.0


class CostDesk:
    """Use as an async context manager. `tenants` are those that it is asked for."""

    def __init__(self, endpoints: Endpoints, *, tenants: Sequence[str], blobs: BlobStore | None = None) -> None:
        self.tenants = tuple(tenants)
        self._bus = Bus(endpoints.bootstrap, generation=endpoints.generation, embedded=endpoints.embedded)
        self._codec = Codec(self._bus, blobs)
        self._address = endpoints.services["meter"]
        self._meter: Peer | None = None

    async def __aenter__(self) -> Self:
        self._meter = Peer("meter", self._address)
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._meter:
            await self._meter.close()

    async def usage(
        self, tenant: str, *, group_by: Sequence[str] = (), since: str = "", until: str = "", request_id: str = ""
    ) -> meter_service_pb2.GetUsageResponse:
        """Sum a tenant's usage and cost, begun from `since` until before `until` (RFC 3339; empty: no limit)."""
        request = meter_service_pb2.GetUsageRequest(request_id=request_id, group_by=group_by, to=until)
        setattr(request, "from", since)  # a keyword in Python
        response: meter_service_pb2.GetUsageResponse = await self._ask("GetUsage", request, tenant)
        return response

    async def unknown(self, tenant: str, *, request_id: str = "") -> meter_service_pb2.ListUnknownResponse:
        """List a tenant's attempts (of a request, or all) of which nobody knows what they used."""
        request = meter_service_pb2.ListUnknownRequest(request_id=request_id)
        response: meter_service_pb2.ListUnknownResponse = await self._ask("ListUnknown", request, tenant)
        return response

    async def price(self, tenant: str, model: str, quantities: Mapping[str, int]) -> meter_service_pb2.PriceResponse:
        """Tell what quantities by meter would cost a tenant now; Refused (model_unpriced) without a price."""
        request = meter_service_pb2.PriceRequest(model=model)
        for meter, quantity in quantities.items():
            request.quantities.add(meter=meter, quantity=quantity)
        response: meter_service_pb2.PriceResponse = await self._ask("Price", request, tenant)
        return response

    async def budgets(self, tenant: str) -> meter_service_pb2.ListBudgetsResponse:
        """Tell how a tenant's budgets stand in their current periods."""
        request = meter_service_pb2.ListBudgetsRequest()
        response: meter_service_pb2.ListBudgetsResponse = await self._ask("ListBudgets", request, tenant)
        return response

    async def publish(self, outgoing: Outgoing) -> None:
        """Publish one event and wait until the bus has it; Unavailable when it does not take it."""
        publisher = Publisher(self._bus, self._codec, client_id="costs")
        await publisher.start()
        try:
            await publisher.publish(outgoing)
        finally:
            await publisher.stop()

    async def read(self, topics: Sequence[str], held: Held) -> AsyncIterator[Event[Any]]:
        """Yield what the topics hold beyond `held`, of any tenant, and note in it what was read.

        Repeats come as they are. What cannot be read is skipped: it has its dead letter. Unavailable when the bus is.
        """
        fresh: Mapping[Place, tuple[int, int]] = held.extend(await bounds(self._bus, topics))
        async for record in read_ranges(self._bus, fresh):
            held.saw(record)
            try:
                yield await self._codec.decode(record)
            except InvalidMessage:
                continue

    async def _ask(self, method: str, request: Any, tenant: str) -> Any:
        if self._meter is None:
            raise RuntimeError("the desk is not open: use it as an async context manager")
        stub: Any = meter_service_pb2_grpc.MeterServiceStub(self._meter.channel)
        context = CallContext(tenant, (EVERYONE,), datetime.now(UTC) + timedelta(seconds=CALL_TIMEOUT_S))
        return await self._meter.call(getattr(stub, method), request, context)
