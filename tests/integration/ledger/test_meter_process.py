"""The meter service as a process: what is published is booked once, whatever is killed in between."""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from headrace import topics
from headrace.answer.v1.answer_pb2 import AnswerCompleted
from headrace.cost.v1.credit_pb2 import CreditGranted
from headrace.meter.v1 import meter_service_pb2 as pb
from headrace.meter.v1 import meter_service_pb2_grpc as pb_grpc
from headrace.prices.v1.prices_pb2 import PricesPublished
from headrace.usage.v1.usage_pb2 import Quantity, UsageRecorded
from headrace_errors import QuotaExceeded, Refused
from headrace_runtime import CallContext, Peer

MODEL = "smollm2-135m-instruct"
PRICES = {"input_tokens": Decimal("0.013"), "output_tokens": Decimal("0.13")}


def usage(number: int, **quantities: int) -> UsageRecorded:
    """Make the n-th usage, of request `r<n>`."""
    return UsageRecorded(
        attempt_id=f"attempt-{number}",
        request_id=f"r{number}",
        tenant="acme",
        operation="generate",
        model=MODEL,
        provider="headrace",
        status="completed" if quantities else "failed",
        quantities=[Quantity(meter=meter, quantity=count) for meter, count in quantities.items()],
        started_at="2026-11-21T09:00:00Z",
        ended_at="2026-11-21T09:00:01Z",
        reservation_id=f"attempt-{number}",
        attempt=1,
    )


async def test_usage_becomes_cost_once_under_kills(outside, service):
    """300 usages, one in ten twice, five kill -9: ledger and cost topic hold the generator's own sum."""
    rng = random.Random(24)
    expected, cost_rows = Counter(), 0
    with service("meter") as meter:
        for number in range(300):
            counts = {"input_tokens": rng.randrange(1, 500), "output_tokens": rng.randrange(1, 50)}
            payload = usage(number, **(counts if number % 30 else {}))
            expected.update(counts if number % 30 else {})
            cost_rows += 2 if number % 30 else 1
            for _ in range(2 if number % 10 == 0 else 1):
                await outside.publish(topics.USAGE_RECORDED, payload, f"usage-{number}")
            if number % 60 == 59:
                await asyncio.to_thread(meter.kill)
                await asyncio.to_thread(meter.start)
        rows = [event.payload for event in await outside.until(cost_rows, topics.COST_RECORDED)]
        async with outside.client(meter=meter.port) as client:
            ledger = await client.usage(group_by=["meter"])

    booked = {one.meter: one.quantity for row in ledger.rows for one in row.quantities}
    assert booked == expected | {"requests": 0}
    assert ledger.usages == 300
    on_topic = Counter()
    for row in rows:
        on_topic[row.sku_meter] += int(row.consumed_quantity)
    assert on_topic == booked
    cost = sum(count * PRICES[meter] / 10**6 for meter, count in expected.items())
    assert Decimal(ledger.total_cost) == sum(Decimal(row.billed_cost) for row in rows) == cost


async def test_a_usage_after_its_deadline_is_booked(outside, service):
    """A fact has no deadline: a late answer is paid like any other."""
    with service("meter"):
        past = datetime.now(UTC) - timedelta(minutes=5)
        await outside.publish(topics.USAGE_RECORDED, usage(1, input_tokens=5), "late", deadline=past)
        (row,) = await outside.until(1, topics.COST_RECORDED)

    assert (row.payload.x_usage_id, row.payload.consumed_quantity) == ("late", "5")
    assert row.payload.x_price_version == "builtin-2026-01"


async def test_a_reservation_lives_until_its_usage_or_outcome(outside, service):
    """Over gRPC: hold, refuse past the budget, settle by the usage event, give the rest back by the outcome."""
    acme = CallContext("acme", ("alice",), datetime.now(UTC) + timedelta(seconds=60))
    with service("meter") as meter:
        peer = Peer("meter", f"127.0.0.1:{meter.port}")
        stub = pb_grpc.MeterServiceStub(peer.channel)

        async def reserve(attempt: int, tokens: int, model: str = MODEL) -> pb.ReserveResponse:
            request = pb.ReserveRequest(
                reservation_id=f"attempt-{attempt}",
                request_id="r1",
                model=model,
                quantities=[Quantity(meter="output_tokens", quantity=tokens)],
            )
            return await peer.call(stub.Reserve, request, acme)

        held = await reserve(1, 1_000_000)
        assert (held.reserved, held.currency) == ("0.13", "USD")
        assert await reserve(1, 1_000_000) == held
        await reserve(2, 1_000_000)
        with pytest.raises(QuotaExceeded) as too_much:
            await reserve(3, 10**9)
        assert too_much.value.reason == "budget_exceeded"
        with pytest.raises(Refused) as unpriced:
            await reserve(4, 1, "gpt-unknown")
        assert unpriced.value.reason == "model_unpriced"

        await outside.publish(topics.USAGE_RECORDED, usage(1, output_tokens=10), "u1")
        outcome = AnswerCompleted(request_id="r1", tenant="acme")
        outcome.usage.attempts = 1
        await outside.publish(topics.ANSWER_COMPLETED, outcome, "o1", key="r1")
        async with outside.client(meter=meter.port) as client, asyncio.timeout(60):
            while not (report := await client.usage(request_id="r1")).settled:  # noqa: ASYNC110 - a process elsewhere
                await asyncio.sleep(0.05)
        assert (report.reserved, report.total_cost) == ("0", "0.0000013")
        await peer.close()


BOOK = """prices:
  version: "{version}"
  rates:
    - {{model: smollm2-135m-instruct, from: 2026-01-01, per_million: {{input_tokens: {price}}}}}
"""


async def test_a_published_book_holds_without_restart_and_after_one(outside, service):
    """Tiers, a correction and a credit, too: what the cost topic says adds up to what the ledger does."""

    async def published(version: str, price: str) -> None:
        book = PricesPublished(
            version=version,
            book=BOOK.format(version=version, price=price),
            published_by="alice",
            published_at="2026-11-21T09:00:00Z",
        )
        await outside.publish(topics.PRICES_PUBLISHED, book, f"prices-{version}", key=version)

    async def until_version(version: str, port: int) -> None:
        async with outside.client(meter=port) as client, asyncio.timeout(60):
            while (await client.usage()).price_version != version:  # noqa: ASYNC110 - a process elsewhere
                await asyncio.sleep(0.05)

    guess = usage(2, input_tokens=70)
    guess.estimated = True
    with service("meter") as meter:
        await published("tiered", "[{up_to: 100, price: '3'}, {price: '1'}]")
        await until_version("tiered", meter.port)
        await published("wrong", "'-1'")
        await outside.publish(topics.USAGE_RECORDED, usage(1, input_tokens=90), "u1")
        await outside.publish(topics.USAGE_RECORDED, guess, "guess")
        await asyncio.to_thread(meter.kill)
        await asyncio.to_thread(meter.start)
        await until_version("tiered", meter.port)
        await outside.publish(topics.USAGE_RECORDED, usage(2, input_tokens=20), "known")
        credit = CreditGranted(
            amount="0.00001", currency="USD", reason="outage", granted_by="alice", granted_at="2026-11-21T09:00:00Z"
        )
        await outside.publish(topics.CREDIT_GRANTED, credit, "credit")
        rows = [event.payload for event in await outside.until(8, topics.COST_RECORDED)]
        async with outside.client(meter=meter.port) as client, asyncio.timeout(60):
            while not Decimal((ledger := await client.usage()).credits):  # noqa: ASYNC110 - a process elsewhere
                await asyncio.sleep(0.05)

    paid = [(row.x_usage_id, row.consumed_quantity, row.charge_class) for row in rows if not row.x_credit_id]
    assert Counter(paid) == Counter(
        {("u1", "90", ""): 1, ("guess", "10", ""): 1, ("guess", "60", ""): 1, ("known", "10", "Correction"): 2}
        | {("guess", "-10", "Correction"): 1, ("guess", "-60", "Correction"): 1}
    )
    assert (
        Decimal(ledger.total_cost)
        == Decimal("0.00031")
        == sum(Decimal(row.billed_cost) for row in rows if not row.x_credit_id)
    )
    assert (ledger.price_version, ledger.credits) == ("tiered", "0.00001")
