"""Whether a model has a price, asked of generate and meter over real calls, and kept for a while."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from headrace.generate.v1 import generate_service_pb2 as generate_pb
from headrace.generate.v1 import generate_service_pb2_grpc as generate_grpc
from headrace.meter.v1 import meter_service_pb2 as meter_pb
from headrace.meter.v1 import meter_service_pb2_grpc as meter_grpc
from headrace_errors import Refused, Unavailable
from headrace_moderate.adapters.prices import ELSE_FRESH_S, KEPT_MAX, PRICED_FRESH_S, PRICED_KEPT_S, AskedPrices
from headrace_runtime import GrpcSettings, Peer, Rpc, current_call
from headrace_runtime.grpc_server import RpcServer


class Neighbours(generate_grpc.GenerateServiceServicer, meter_grpc.MeterServiceServicer):
    """Two services in one: the models `small` and `dear`, and prices for all but those of `unpriced`."""

    def __init__(self) -> None:
        self.unpriced: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.default = "small"
        self.error: Exception | None = None
        self.hangs = False

    async def Info(self, _request, _context):  # noqa: N802 - the contract's name
        """Name the models."""
        models = [generate_pb.Model(name=name) for name in ("small", "dear")]
        return generate_pb.InfoResponse(models=models, default_model=self.default)

    async def Price(self, request, _context):  # noqa: N802 - the contract's name
        """Tell a price."""
        assert {one.meter: one.quantity for one in request.quantities} == {"input_tokens": 1, "output_tokens": 1}
        self.asked.append((current_call().tenant, request.model))
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        if request.model in self.unpriced:
            raise Refused(f"no price for model {request.model!r}", reason="model_unpriced")
        return meter_pb.PriceResponse(cost="1", currency="EUR", price_version="1")


class Asked:
    """The adapter before neighbours, with a clock that only tests move."""

    def __init__(self, address: str, neighbours: Neighbours, timeout_s: float) -> None:
        self.neighbours, self.now = neighbours, 1_000.0
        self.peer = Peer("neighbours", address)
        self.prices = AskedPrices(generate=self.peer, meter=self.peer, clock=lambda: self.now, timeout_s=timeout_s)

    async def why(self, model: str = "", tenant: str = "acme") -> str:
        """Ask."""
        return await self.prices.why_unpriced(tenant, model)

    async def told(self) -> None:
        """Wait until whoever is being asked has answered."""
        await asyncio.gather(*self.prices._asking.values())


@asynccontextmanager
async def asking(address: str = "", timeout_s: float = 30.0) -> AsyncIterator[Asked]:
    neighbours = Neighbours()
    both = [
        Rpc(
            "headrace.generate.v1.GenerateService",
            lambda server: generate_grpc.add_GenerateServiceServicer_to_server(neighbours, server),
        ),
        Rpc(
            "headrace.meter.v1.MeterService",
            lambda server: meter_grpc.add_MeterServiceServicer_to_server(neighbours, server),
        ),
    ]
    server = RpcServer(GrpcSettings(), both)
    await server.start()
    asked = Asked(address or f"127.0.0.1:{server.port}", neighbours, timeout_s)
    try:
        yield asked
    finally:
        await asked.peer.close()
        await server.stop(0)


@pytest.fixture
async def asked():
    async with asking() as running:
        yield running


async def test_the_named_model_is_asked_for_and_the_default_where_none_is(asked):
    """The default is what generate says; the reason is meter's own words."""
    asked.neighbours.unpriced = {"dear"}
    assert await asked.why("small") == await asked.why("") == ""
    assert await asked.why("dear") == "no price for model 'dear'"
    assert asked.neighbours.asked == [("acme", "small"), ("acme", "small"), ("acme", "dear")]


async def test_a_model_that_is_in_no_catalogue_is_left_to_generate(asked):
    """It says `unknown_model`, which helps more; meter is not asked for names that anybody may invent."""
    assert await asked.why("gpt-99") == ""
    assert asked.neighbours.asked == []


async def test_an_answer_is_kept_and_many_who_ask_share_one(asked):
    """In memory: meter hears of one question in so many seconds, not of each."""
    await asyncio.gather(*(asked.why() for _ in range(50)))
    asked.now += PRICED_FRESH_S - 0.001
    await asked.why()
    assert asked.neighbours.asked == [("acme", "small")]
    await asked.why(tenant="globex")
    assert asked.neighbours.asked[1:] == [("globex", "small")]


async def test_who_finds_an_old_price_does_not_wait_for_the_new_answer(asked):
    """It counts while meter is asked again; the next one is told what meter said then."""
    await asked.why()
    asked.neighbours.unpriced = {"small"}
    asked.now += PRICED_FRESH_S
    assert await asked.why() == ""
    await asked.told()
    assert await asked.why() == "no price for model 'small'"


async def test_a_price_that_is_too_old_counts_no_more(asked):
    """Whoever comes then waits for the answer."""
    await asked.why()
    asked.neighbours.unpriced = {"small"}
    asked.now += PRICED_KEPT_S
    assert await asked.why() == "no price for model 'small'"


async def test_a_refusal_is_asked_for_anew_at_once_when_it_is_old(asked):
    """A book that was published lets the next question through."""
    asked.neighbours.unpriced = {"small"}
    assert await asked.why()
    asked.neighbours.unpriced = set()
    asked.now += ELSE_FRESH_S
    assert await asked.why() == ""


@pytest.mark.parametrize("error", [Unavailable("later"), Refused("no", reason="unknown_tenant"), ValueError("a bug")])
async def test_where_meter_cannot_tell_the_question_goes_on(asked, error):
    """No model runs before its price is held; only a missing price refuses."""
    asked.neighbours.error = error
    assert await asked.why() == ""


async def test_a_meter_that_hangs_is_waited_for_once_and_briefly():
    """Everybody shares the wait, and nobody waits again until the answer is old."""
    async with asking(timeout_s=1.0) as asked, asyncio.timeout(10):
        asked.neighbours.hangs = True
        assert set(await asyncio.gather(*(asked.why() for _ in range(20)))) == {""}
        assert await asked.why() == ""
        assert len(asked.neighbours.asked) == 1


async def test_without_neighbours_the_question_goes_on():
    """As at the start of a platform, and while they restart."""
    async with asking("127.0.0.1:9") as asked:
        assert await asked.why() == ""


async def test_only_so_many_answers_are_kept(asked):
    """Models may have any name: what nobody asks for any more goes first."""
    await asked.why()
    for number in range(KEPT_MAX + 5):
        await asked.why(f"invented-{number}")
        await asked.why()
    assert len(asked.prices._found) == KEPT_MAX
    assert asked.neighbours.asked == [("acme", "small")]
