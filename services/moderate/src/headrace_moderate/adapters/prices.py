"""Whether a model has a price: generate says which models there are, meter what they cost; both are asked in advance.

What was found is kept in memory, so an admission waits for an answer only where none is kept. That is no decision about
money: meter decides again, and holds the price, before the model runs.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from headrace.generate.v1 import generate_service_pb2 as generate_pb
from headrace.generate.v1 import generate_service_pb2_grpc as generate_grpc
from headrace.meter.v1 import meter_service_pb2 as meter_pb
from headrace.meter.v1 import meter_service_pb2_grpc as meter_grpc
from headrace.usage.v1 import usage_pb2
from headrace_errors import HeadraceError, PeerBug, Refused
from headrace_runtime import EVERYONE, CallContext, Peer
from headrace_telemetry import get_logger

PRICED_FRESH_S = 10.0  # that there is a price holds so long,
PRICED_KEPT_S = 600.0  # and counts so long while it is asked for anew: who asks seldom does not wait either
ELSE_FRESH_S = 1.0  # that there is none, or that nobody could tell
KEPT_MAX = 1_024  # pairs of tenant and model
TIMEOUT_S = 0.25  # generate and meter together
ONE_OF_EACH = ("input_tokens", "output_tokens")  # what every attempt may use
_log = get_logger()

_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Found:
    """Why there is no price, until when that holds, and until when it counts while it is asked for anew, in seconds."""

    why: str
    fresh_until_s: float
    kept_until_s: float


class AskedPrices:
    """The prices of meter for the models of generate. `clock` is in seconds and monotonic; it belongs to one loop."""

    def __init__(
        self,
        *,
        generate: Peer,
        meter: Peer,
        clock: Callable[[], float] = time.monotonic,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._generate, self._models = generate, generate_grpc.GenerateServiceStub(generate.channel)
        self._meter, self._prices = meter, meter_grpc.MeterServiceStub(meter.channel)
        self._clock, self._timeout_s = clock, timeout_s
        self._found: OrderedDict[_Key, _Found] = OrderedDict()
        self._asking: dict[_Key, asyncio.Task[str]] = {}

    async def why_unpriced(self, tenant: str, model: str) -> str:
        """Return why a model has no price; empty where it has one or nobody can tell. See the port."""
        key, now_s = (tenant, model), self._clock()
        found = self._found.get(key)
        if found is not None and now_s < found.fresh_until_s:
            self._found.move_to_end(key)
            return found.why
        asking = self._asking.get(key) or self._ask(key)
        if found is not None and now_s < found.kept_until_s:
            return found.why
        return await asyncio.shield(asking)  # others wait for it, too

    def _ask(self, key: _Key) -> asyncio.Task[str]:
        asking = asyncio.create_task(self._look(key))
        self._asking[key] = asking
        asking.add_done_callback(lambda _: self._asking.pop(key))
        return asking

    async def _look(self, key: _Key) -> str:
        """Ask, and keep what is found."""
        fresh_s = kept_s = ELSE_FRESH_S
        try:
            why = await self._why(*key)
            if not why:
                fresh_s, kept_s = PRICED_FRESH_S, PRICED_KEPT_S
        except (HeadraceError, PeerBug) as error:
            _log.warning("price.unknown", tenant=key[0], reason=error.reason)
            why = ""
        now_s = self._clock()
        self._found[key] = _Found(why, now_s + fresh_s, now_s + kept_s)
        self._found.move_to_end(key)
        if len(self._found) > KEPT_MAX:
            self._found.popitem(last=False)
        return why

    async def _why(self, tenant: str, model: str) -> str:
        context = CallContext(tenant, (EVERYONE,), datetime.now(UTC) + timedelta(seconds=self._timeout_s))
        # Who is not there is not waited for: at a start, and while it restarts.
        info = await self._generate.call(self._models.Info, generate_pb.InfoRequest(), context, wait_for_ready=False)
        name = model or info.default_model
        if all(one.name != name for one in info.models):
            return ""  # generate says itself that there is none
        one_of_each = [usage_pb2.Quantity(meter=meter, quantity=1) for meter in ONE_OF_EACH]
        request = meter_pb.PriceRequest(model=name, quantities=one_of_each)
        try:
            await self._meter.call(self._prices.Price, request, context, wait_for_ready=False)
        except Refused as refused:
            if refused.reason != "model_unpriced":
                raise
            return refused.detail
        return ""
