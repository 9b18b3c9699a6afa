"""Calls that come while meter is still starting: its server takes them before it knows budgets and prices."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from headrace.meter.v1 import meter_service_pb2 as pb
from headrace.usage.v1.usage_pb2 import Quantity, UsageRecorded
from headrace_errors import InvalidMessage
from headrace_meter.entrypoints.grpc import MeterServicer
from headrace_meter.entrypoints.translation import wish_of
from headrace_meter.handlers import Rules
from headrace_meter.price_file import read_prices
from headrace_runtime import CallContext
from headrace_runtime.context import set_current_call

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
USED = [Quantity(meter="input_tokens", quantity=10)]


def prices(price: str):
    """Make a book of one model."""
    rates = [{"model": "m", "from": "2026-01-01", "per_million": {"input_tokens": price}}]
    return read_prices({"version": price, "rates": rates}, currency="USD")


@pytest.mark.parametrize("name", ["reservation_id", "request_id", "model", "feature", "operation", "principal"])
@pytest.mark.parametrize("value", ["x" * 256, "a\x00b"], ids=["too long", "a control character"])
def test_nothing_is_held_under_a_name_that_its_usage_cannot_be_booked_under(name, value):
    """Its model would run, and nobody would pay for it."""
    fields = {"reservation_id": "a1", "model": "m"} | {name: value}
    with pytest.raises(InvalidMessage, match=name):
        wish_of(pb.ReserveRequest(**fields), tenant="acme")


class Everybody:
    """Every tenant is declared."""

    def check(self, tenant):
        del tenant


async def post(fact):
    """Tell what would be booked."""
    return fact.amount_picos if hasattr(fact, "amount_picos") else fact.cost_picos


async def no_rows(*_):
    """Make no cost rows."""
    return ()


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("Reserve", pb.ReserveRequest(reservation_id="a1", request_id="r1", model="m", quantities=USED)),
        ("Price", pb.PriceRequest(model="m", quantities=USED)),
        (
            "Settle",
            pb.SettleRequest(
                usage_id="u1",
                usage=UsageRecorded(
                    attempt_id="a1",
                    operation="generate",
                    model="m",
                    status="completed",
                    quantities=USED,
                    started_at=NOON.isoformat(),
                    ended_at=NOON.isoformat(),
                ),
            ),
        ),
    ],
)
async def test_money_is_decided_once_budgets_and_prices_are_known(method, request_):
    """At the prices of the file, or without a budget that is being declared, it would be decided wrongly."""
    caught_up = asyncio.Event()
    rules = Rules(prices("1"), Everybody(), no_rows, None)
    books = dict.fromkeys(("book", "budgets", "unknown"))
    servicer = MeterServicer(post=post, rules=rules, clock=lambda: NOON, caught_up=caught_up, **books)
    set_current_call(CallContext("acme", ("alice",), datetime.now(UTC) + timedelta(minutes=1)))
    asked = asyncio.ensure_future(getattr(servicer, method)(request_, None))
    await asyncio.sleep(0)
    assert not asked.done()

    rules.prices = prices("3")
    caught_up.set()
    answer = await asked
    assert "0.00003" in (getattr(answer, "cost", ""), getattr(answer, "reserved", ""))
