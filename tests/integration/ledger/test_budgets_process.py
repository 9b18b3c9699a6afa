"""Budgets of a tenants file, as a running meter keeps them and as the command shows them."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from headrace import topics
from headrace.meter.v1 import meter_service_pb2 as pb
from headrace.meter.v1 import meter_service_pb2_grpc as pb_grpc
from headrace.usage.v1.usage_pb2 import Quantity, UsageRecorded
from headrace_cli.costing.standings import standings_of, standings_table
from headrace_client import CostDesk, Endpoints
from headrace_errors import QuotaExceeded
from headrace_runtime import CallContext, Peer

MODEL = "smollm2-135m-instruct"  # 0.13 a million output tokens
CHAT = "day feature=chat principal=*"
TENANTS = """
tenants:
  acme:
    open: true
    budget: {monthly: "1.00"}
    budgets:
      - {period: day, amount: "0.26", feature: chat, principal: "*", thresholds_percent: [40, 90]}
"""


async def test_a_budget_of_the_tenants_file_holds_tells_and_is_shown(outside, service, tmp_path):
    """Two attempts fit alice's day, a third is refused by name; bob has his own; the topic and the command say so."""
    file = tmp_path / "tenants.yaml"
    file.write_text(TENANTS)
    now = datetime.now(UTC)
    alice = CallContext("acme", ("alice",), now + timedelta(seconds=60))
    with service("meter", HEADRACE_TENANTS_FILE=str(file)) as meter:
        peer = Peer("meter", f"127.0.0.1:{meter.port}")
        stub = pb_grpc.MeterServiceStub(peer.channel)

        async def reserve(attempt: str, asker: str) -> None:
            request = pb.ReserveRequest(
                reservation_id=attempt,
                request_id="r1",
                model=MODEL,
                quantities=[Quantity(meter="output_tokens", quantity=1_000_000)],
                feature="chat",
                principal=asker,
                started_at=now.isoformat(),
            )
            await peer.call(stub.Reserve, request, alice)

        await reserve("a1", "alice")
        await reserve("a2", "alice")
        await reserve("b1", "bob")
        with pytest.raises(QuotaExceeded, match=r"'day feature=chat principal=\*' \(principal=alice\)"):
            await reserve("a3", "alice")
        used = UsageRecorded(
            attempt_id="a1",
            request_id="r1",
            tenant="acme",
            feature="chat",
            principal="alice",
            operation="generate",
            model=MODEL,
            status="completed",
            quantities=[Quantity(meter="output_tokens", quantity=500_000)],
            started_at=now.isoformat(),
            ended_at=now.isoformat(),
            reservation_id="a1",
        )
        await outside.publish(topics.USAGE_RECORDED, used, "u1")
        await outside.until(1, topics.COST_RECORDED)
        told = [event.payload for event in await outside.until(3, topics.BUDGET_CROSSED)]

        endpoints = Endpoints(outside.bus.bootstrap, {"meter": f"127.0.0.1:{meter.port}"}, embedded=True)
        async with CostDesk(endpoints, tenants=["acme"]) as desk:
            standings = await standings_of(desk)
        await peer.close()

    crossed = {(one.budget, one.subject, one.percent, one.limit) for one in told if one.budget == CHAT}
    assert crossed == {(CHAT, f"principal={asker}", 40, "0.26") for asker in ("alice", "bob")} | {
        (CHAT, "principal=alice", 90, "0.26")
    }
    assert all(one.hard and dict(one.scope) == {"feature": "chat", "principal": "*"} for one in told)
    shown = json.loads(json.dumps(standings.as_json()))["budgets"]
    assert [(one["budget"], one["subject"], one["spent"], one["reserved"], one["left"]) for one in shown] == [
        (CHAT, "principal=alice", "0.065", "0.13", "0.065"),
        (CHAT, "principal=bob", "0", "0.13", "0.13"),
        ("month", "", "0.065", "0.26", "0.675"),
    ]
    assert standings_table(standings).row_count == 3
