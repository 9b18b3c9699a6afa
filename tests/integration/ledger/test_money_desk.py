"""Who runs the platform publishes a price book, gives credit and compares all books; meter is a process."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from headrace import topics
from headrace.usage.v1.usage_pb2 import Quantity, UsageRecorded
from headrace_cli.pricing.publishing import publish_book
from headrace_cli.reconciling import reconcile_platform
from headrace_client import CostDesk, Endpoints
from headrace_client.costs import CreditDiffers, Held, NothingToCorrect, correct, grant

BOOK = """prices:
  version: tiered
  rates:
    - model: smollm2-135m-instruct
      from: 2026-01-01
      per_million: {input_tokens: [{up_to: 100, price: "3"}, {price: "1"}]}
"""


def usage(tokens, **fields):
    """Make the usage of an attempt of a request of its own."""
    return UsageRecorded(
        request_id="r1",
        tenant="acme",
        operation="generate",
        model="smollm2-135m-instruct",
        provider="headrace",
        status="completed",
        quantities=[Quantity(meter="input_tokens", quantity=tokens)],
        started_at="2026-11-21T09:00:00Z",
        ended_at="2026-11-21T09:00:01Z",
        **fields,
    )


async def test_books_credits_and_corrections_reconcile(outside, bus, service, tmp_path):
    """Usage, credits, ledger and cost topic agree: on tiers, estimates taken back, what people found out, credits."""
    book = tmp_path / "book.yaml"
    book.write_text(BOOK)
    with service("meter") as meter:
        endpoints = Endpoints(
            bus.bootstrap, {"meter": f"127.0.0.1:{meter.port}"}, generation=bus.generation, embedded=True
        )
        async with CostDesk(endpoints, tenants=["acme"]) as desk:
            published = await publish_book(desk, book, actor="alice", wait_s=60)
            assert (published.again, published.in_force) == (False, "tiered")

            await outside.publish(topics.USAGE_RECORDED, usage(70, attempt_id="a1"), "u1")
            await outside.publish(topics.USAGE_RECORDED, usage(60, attempt_id="a2", estimated=True), "u2")
            await outside.publish(topics.USAGE_RECORDED, usage(40, attempt_id="a2"), "u3")

            lost = UsageRecorded()
            lost.CopyFrom(usage(0, attempt_id="a3"))
            lost.status = "unknown"
            await outside.publish(topics.USAGE_RECORDED, lost, "u4")
            while not (await desk.unknown("acme")).usages:  # noqa: ASYNC110 - a process elsewhere
                await asyncio.sleep(0.1)
            said = {"reason": "the bill", "actor": "alice"}
            found_out = await correct(desk, "acme", "r1", "a3", {"input_tokens": 30}, wait_s=60, **said)
            assert (found_out.booked, found_out.again) == (True, False)
            assert (await correct(desk, "acme", "r1", "a3", {"input_tokens": 30}, **said)).again
            with pytest.raises(NothingToCorrect):
                await correct(desk, "acme", "r1", "a1", {}, **said)

            given = await grant(desk, "acme", Decimal("0.00001"), reason="outage", actor="alice", wait_s=60)
            again = await grant(desk, "acme", Decimal("0.00001"), reason="outage", actor="bob")
            assert (given.booked, given.again, again.again) == (True, False, True)
            with pytest.raises(CreditDiffers):
                await grant(desk, "acme", Decimal(1), reason="outage", actor="bob", credit_id=given.credit_id)

            found = await reconcile_platform(desk, wait_s=60)
            ledger = await desk.usage("acme")

    assert found.equal, found.as_json()
    acme = found.by_tenant["acme"]
    assert (acme.usages, acme.cost_rows) == (5, 1 + 2 + 2 + 2 + 1 + 1)
    assert dict(acme.usage) == {"smollm2-135m-instruct/input_tokens": 140}
    assert set(acme.credits.values()) == {Decimal("0.00001")}
    assert Decimal(ledger.total_cost) == acme.cost_topic_cost == Decimal("0.00034")  # 100 at 3 and 40 at 1 a million


async def test_each_start_declares_the_book_that_holds(bus, service, tmp_path):
    """First that of the files, which are void once a book was published: audit compares like with like."""
    book, declared = tmp_path / "book.yaml", {}
    book.write_text(BOOK)
    with service("meter") as meter:
        for start in ("files", "published"):
            endpoints = Endpoints(
                bus.bootstrap, {"meter": f"127.0.0.1:{meter.port}"}, generation=bus.generation, embedded=True
            )
            async with CostDesk(endpoints, tenants=["acme"]) as desk, asyncio.timeout(60):
                while not (told := await declared_prices(desk)) or told[-1] in declared.values():  # noqa: ASYNC110
                    await asyncio.sleep(0.1)  # a process elsewhere
                declared[start] = told[-1]
                if start == "files":
                    await publish_book(desk, book, actor="alice", wait_s=60)
            if start == "files":
                await asyncio.to_thread(meter.kill)
                await asyncio.to_thread(meter.start)

    assert declared["files"][0] == "builtin-2026-01"
    assert declared["published"][0] == "tiered"
    assert declared["files"][1] != declared["published"][1]


def test_meter_does_not_start_on_a_book_that_it_cannot_read(service):
    """A newer release took it in: older prices would be wrong. The log says what to do, without a traceback."""
    with service("meter") as meter:
        meter.kill()
        with closing(sqlite3.connect(meter.data_dir / "meter" / "state.db")) as database:
            text = BOOK + "  by_the_moon: true\n"
            row = ("tiered", text, "alice", 0)
            database.execute(
                "INSERT INTO price_books (version, book_text, published_by, published_us) VALUES (?, ?, ?, ?)", row
            )
            database.commit()
        with pytest.raises(AssertionError):
            meter.start()

    assert meter.process.returncode == 2
    log = meter.log.read_text()
    assert "by_the_moon" in log.splitlines()[-1]
    assert "service.cannot_start" in log.splitlines()[-1]
    assert "Traceback" not in log


async def declared_prices(desk):
    """Return version and hash of the books that meter was started with, in order."""
    told = [event.payload async for event in desk.read([topics.AUDIT_SUBMITTED], Held(datetime.now(UTC)))]
    return [
        (one.facts["version"], one.content_sha256)
        for one in told
        if (one.action, one.facts.get("part")) == ("configuration.declared", "prices")
    ]
