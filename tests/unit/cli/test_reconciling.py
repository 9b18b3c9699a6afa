"""Reconciling a platform: every tenant, over the time that the topics hold, with patience for what is on its way."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from headrace import topics
from headrace.cost.v1.cost_pb2 import CostRecorded
from headrace.meter.v1.meter_service_pb2 import GetUsageResponse, UsageRow
from headrace.usage.v1.usage_pb2 import Quantity, UsageRecorded
from headrace_cli.reconciling import reconcile_platform, reconcile_topics

BEGAN = datetime(2026, 11, 21, 12, tzinfo=UTC)


def usage(tenant, event_id="u", began=BEGAN):
    """Make a usage event of ten tokens."""
    quantities = [Quantity(meter="output_tokens", quantity=10)]
    payload = UsageRecorded(model="m", started_at=began.isoformat(), quantities=quantities)
    return SimpleNamespace(envelope=SimpleNamespace(tenant=tenant, id=event_id), payload=payload)


def cost(tenant, usage_id="u", began=BEGAN):
    """Make its cost row."""
    payload = CostRecorded(
        x_usage_id=usage_id,
        x_model="m",
        sku_meter="output_tokens",
        consumed_quantity="10",
        billed_cost="1",
        charge_period_start=began.isoformat(),
    )
    return SimpleNamespace(envelope=SimpleNamespace(tenant=tenant, id=f"c-{usage_id}"), payload=payload)


class FakeDesk:
    """Topics that get more at each reading, and a ledger that knows one usage of every tenant in `booked`."""

    def __init__(self, *readings, tenants=("acme",), booked=("acme",), lost_before=None) -> None:
        self.tenants, self._booked, self._lost_before = tenants, booked, lost_before
        self._readings = list(readings)
        self.asked = []

    async def read(self, names, held):
        """Yield the next reading's events of one topic."""
        if self._lost_before:
            held.extend({(names[0], 0): (7, 9)})
            held.saw(SimpleNamespace(topic=names[0], partition=0, timestamp_ms=self._lost_before.timestamp() * 1000))
        for event in self._readings[0] if self._readings else ():
            if isinstance(event.payload, topics.topic(names[0]).message):
                yield event
        if names == [topics.COST_RECORDED] and self._readings:
            self._readings.pop(0)

    async def usage(self, tenant, **question):
        """Answer for a tenant."""
        self.asked.append((tenant, question))
        if tenant not in self._booked:
            return GetUsageResponse()
        group = {"model": "m", "meter": "output_tokens"}
        row = UsageRow(group=group, quantities=[Quantity(meter="output_tokens", quantity=10)], cost="1")
        return GetUsageResponse(rows=[row], usages=1, total_cost="1")


async def test_all_declared_tenants_are_compared():
    """Those that used nothing, too: the ledger must say so."""
    desk = FakeDesk([usage("acme"), cost("acme")], tenants=("acme", "globex"))

    found = await reconcile_platform(desk, wait_s=0)

    assert found.equal
    assert list(found.by_tenant) == ["acme", "globex"]


async def test_a_tenant_that_only_the_topics_know_is_compared():
    """It was declared once, or never: its money is money."""
    found = await reconcile_platform(FakeDesk([usage("gone")], booked=(), tenants=()), wait_s=0)

    assert found.by_tenant["gone"].differences[0] == "usage u has no cost row"


async def test_what_is_on_its_way_is_waited_for():
    """A cost row comes after its usage; only what is new is read again."""
    found = await reconcile_platform(FakeDesk([usage("acme")], [cost("acme")]), wait_s=60, poll_s=0)

    assert found.equal


async def test_a_difference_that_stays_is_reported():
    """Booked in the ledger, and never published."""
    found = await reconcile_platform(FakeDesk([usage("acme")]), wait_s=0)

    assert not found.equal
    assert "m/output_tokens: the ledger's cost is 1, the cost topic's 0" in found.by_tenant["acme"].differences


@pytest.mark.parametrize("limit", ["bus_since", "since", "lost_before"])
async def test_only_time_that_the_topics_hold_is_compared(limit):
    """Usage from before the bus's start, before what retention left, or before what was asked for says nothing."""
    later = BEGAN + timedelta(hours=1)
    lost_before = later if limit == "lost_before" else None
    desk = FakeDesk([usage("acme")], booked=(), lost_before=lost_before)

    found = await reconcile_platform(desk, wait_s=0, **({} if lost_before else {limit: later}))

    assert found.equal
    assert found.as_json()["since"] == later.isoformat()
    assert desk.asked[0][1]["since"] == later.isoformat()


class FakeClient:
    """One tenant's client: the cost row is on the topic from the second look on."""

    tenant = "acme"

    def __init__(self, *, cost_comes: bool) -> None:
        self._looks, self._cost_comes = 0, cost_comes

    async def usage(self, **question):
        """Answer as the ledger."""
        return await FakeDesk().usage(self.tenant, **question)

    async def events_so_far(self, topic):
        """Return what a topic holds now."""
        if topic == topics.USAGE_RECORDED:
            return [usage("acme")]
        if topic in (topics.CREDIT_GRANTED, topics.USAGE_CORRECTED):
            return []
        self._looks += 1
        return [cost("acme")] if self._cost_comes and self._looks > 1 else []


@pytest.mark.parametrize("cost_comes", [True, False])
async def test_a_client_compares_its_own_tenant(cost_comes):
    """As the demo does: with the same patience and the same verdict."""
    found = await reconcile_topics(FakeClient(cost_comes=cost_comes), wait_s=60 if cost_comes else 0, poll_s=0)

    assert found.equal is cost_comes
