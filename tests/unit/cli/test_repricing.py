"""Repricing by replay: a shadow ledger rates what was used under another book, and books nothing."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

from headrace.meter.v1.meter_service_pb2 import GetUsageResponse, UsageRow
from headrace.usage.v1.usage_pb2 import Quantity, UsageRecorded
from headrace_cli.costing.repricing import ShadowLedger, reprice
from headrace_meter.charges import rate
from headrace_meter.domain import Usage
from headrace_meter.price_file import read_prices
from hypothesis import given
from hypothesis import strategies as st

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
TIERS = [{"up_to": 100, "price": "3"}, {"price": "1"}]


def book(price="2", model="m"):
    """Read a book of one model."""
    rates = [{"model": model, "from": "2026-01-01", "per_million": {"output_tokens": price}}]
    return read_prices({"version": "next", "rates": rates}, currency="USD")


def used(event_id, quantity, began=NOON, model="m"):
    """Make a usage event of acme."""
    quantities = [Quantity(meter="output_tokens", quantity=quantity)]
    payload = UsageRecorded(model=model, started_at=began.isoformat(), quantities=quantities)
    return SimpleNamespace(envelope=SimpleNamespace(tenant="acme", id=event_id), payload=payload)


class FakeDesk:
    """A topic of some events, and a ledger that says the same to any question."""

    tenants = ("acme",)

    def __init__(self, *events, quantity=0, cost="0") -> None:
        self._events, self._quantity, self._cost = events, quantity, cost
        self.asked = []

    async def read(self, _names, _held):
        """Yield the events."""
        for event in self._events:
            yield event

    async def usage(self, _tenant, **question):
        """Answer."""
        self.asked.append(question)
        quantities = [Quantity(meter="output_tokens", quantity=self._quantity)]
        row = UsageRow(group={"model": "m", "meter": "output_tokens"}, quantities=quantities, cost=self._cost)
        return GetUsageResponse(rows=[row])


async def test_every_usage_is_rated_once_under_the_other_book():
    """Beside what the ledger says; a repeat on the topic is the same fact."""
    desk = FakeDesk(used("u1", 10), used("u2", 5), used("u1", 10), quantity=15, cost="0.000015")

    found = await reprice(desk, book())

    assert found.rows() == [(("acme", "m", "output_tokens"), Decimal("0.000015"), Decimal("0.000030"))]
    assert found.as_json()["after"] == "0.00003"


async def test_what_the_other_book_does_not_price_is_named():
    """It would be refused at admission; a sum without it is no sum."""
    found = await reprice(FakeDesk(used("u1", 10)), book(model="other"))

    assert (found.unpriced, found.after) == ({"m": 1}, {})


async def test_tiers_go_on_from_what_the_ledger_counted_of_the_month():
    """The topic holds the second half of a month only; its first 90 units are in the ledger."""
    desk = FakeDesk(used("u1", 20), quantity=90)

    found = await reprice(desk, book(TIERS), since=NOON)

    assert found.after["acme", "m", "output_tokens"] == Decimal("0.000040")  # 10 at 3 and 10 at 1
    assert desk.asked[0]["since"] == "2026-11-01T00:00:00+00:00"
    assert desk.asked[0]["until"] == NOON.isoformat()


async def test_tiers_are_counted_in_the_order_in_which_attempts_began():
    """Whatever the order on the topic's partitions; each month begins anew."""
    late, december = used("u1", 50, NOON + timedelta(hours=1)), used("u3", 60, NOON + timedelta(days=20))
    shadow = ShadowLedger(book(TIERS))
    for event in (used("u2", 70), late, december):
        moment = datetime.fromisoformat(event.payload.started_at)
        shadow.book("acme", "m", moment, {"output_tokens": event.payload.quantities[0].quantity})

    assert shadow.costs_picos["acme", "m", "output_tokens"] == (100 * 3 + 20 + 60 * 3) * 10**6


@given(st.lists(st.integers(0, 200), max_size=30))
def test_the_shadow_ledger_sums_what_the_ledger_would(quantities):
    """Usage by usage under the same book, the counts of the month carried on: the same total."""
    prices, counted, total, shadow = book(TIERS), 0, 0, ShadowLedger(book(TIERS))
    for quantity in quantities:
        one = Usage(
            usage_id="u", attempt_id="a", tenant="acme", operation="generate", model="m", provider="p",
            status="completed", quantities={"output_tokens": quantity}, started_at=NOON, ended_at=NOON,
        )  # fmt: skip
        total += sum(charge.cost_picos for charge in rate(one, prices, counted={"output_tokens": counted}))
        counted += quantity
        shadow.book("acme", "m", NOON, {"output_tokens": quantity})

    assert sum(shadow.costs_picos.values()) == total
