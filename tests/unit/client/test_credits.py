"""Credits said again: told as booked only where the ledger has them."""

from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace

import pytest
from headrace.cost.v1.credit_pb2 import CreditGranted
from headrace.meter.v1.meter_service_pb2 import GetUsageResponse
from headrace_client.costs import grant
from headrace_messaging import Envelope

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Desk:
    """A topic that holds one credit already, and a ledger that booked it or not."""

    def __init__(self, *, booked: str) -> None:
        self.booked = booked
        self.published = []

    async def usage(self, _tenant, *, since="", until=""):
        in_span = since <= NOON.isoformat() < until
        return GetUsageResponse(currency="USD", credits=self.booked if in_span else "0")

    async def read(self, _topics, _held):
        payload = CreditGranted(amount="5", currency="USD", reason="outage", granted_at=NOON.isoformat())
        envelope = Envelope(id="c1", type="t", source="/test", time=NOON, tenant="acme")
        yield SimpleNamespace(envelope=envelope, payload=payload)

    async def publish(self, outgoing):
        self.published.append(outgoing)


@pytest.mark.parametrize(("in_ledger", "booked"), [("5", True), ("0", False)])
async def test_a_credit_that_was_granted_before_is_booked_only_if_the_ledger_has_it(in_ledger, booked):
    """It may have ended as a dead letter; it is published once in any case."""
    desk = Desk(booked=in_ledger)
    given = await grant(desk, "acme", Decimal(5), reason="outage", actor="bob", credit_id="c1", wait_s=0, poll_s=0)
    assert (given.again, given.booked, desk.published) == (True, booked, [])
