"""Reconciliation: equal only when every usage is rated once, and all three places say the same."""

from copy import deepcopy

import pytest
from headrace.cost.v1.cost_pb2 import CostRecorded
from headrace.meter.v1.meter_service_pb2 import GetUsageResponse, UsageRow
from headrace.usage.v1.usage_pb2 import Quantity, UsageRecorded
from headrace_client import reconcile


def usage(number: int, **quantities: int) -> tuple[str, UsageRecorded]:
    """Make the n-th usage event."""
    parts = [Quantity(meter=meter, quantity=count) for meter, count in quantities.items()]
    return f"u{number}", UsageRecorded(model="m", quantities=parts)


def cost(number: int, meter: str, quantity: int, billed: str) -> tuple[str, CostRecorded]:
    """Make one cost event of the n-th usage."""
    row = CostRecorded(
        x_usage_id=f"u{number}",
        x_model="m",
        sku_meter=meter,
        consumed_quantity=str(quantity),
        billed_cost=billed,
    )
    return f"c{number}-{meter}", row


def ledger(total: str = "0.3", usages: int = 2, **quantities: int) -> GetUsageResponse:
    """Make the ledger's answer, by model and meter."""
    rows = [
        UsageRow(group={"model": "m", "meter": meter}, quantities=[Quantity(meter=meter, quantity=count)])
        for meter, count in (quantities or {"input_tokens": 30}).items()
    ]
    return GetUsageResponse(rows=rows, total_cost=total, usages=usages)


USAGES = [usage(1, input_tokens=10), usage(2, input_tokens=20)]
COSTS = [cost(1, "input_tokens", 10, "0.1"), cost(2, "input_tokens", 20, "0.2")]


def test_all_three_agree():
    """Quantities by model and meter, costs, and every usage by itself."""
    found = reconcile(USAGES, COSTS, ledger())

    assert found.equal
    assert (
        found.as_json()["usage"] == found.as_json()["ledger"] == found.as_json()["cost_topic"] == {"m/input_tokens": 30}
    )


def test_a_fact_delivered_twice_is_one_fact():
    """At least once is the topic's promise; the event id tells a repeat from a second fact."""
    assert reconcile([*USAGES, *deepcopy(USAGES)], [*COSTS, *deepcopy(COSTS)], ledger()).equal


def test_an_attempt_that_used_nothing_has_its_row():
    """Quantity 0 on the meter `requests` is nothing used and still one row."""
    found = reconcile([*USAGES, usage(3)], [*COSTS, cost(3, "requests", 0, "0")], ledger(usages=3))

    assert found.equal
    assert reconcile([*USAGES, usage(3)], COSTS, ledger(usages=3)).differences == ("usage u3 has no cost row",)


@pytest.mark.parametrize(
    ("usages", "costs", "said", "difference"),
    [
        (USAGES, COSTS[:1], ledger(), "usage u2 has no cost row"),
        (USAGES[:1], COSTS, ledger(), "cost rows of usage u2, which the topic does not hold"),
        (USAGES, [*COSTS, ("c9", COSTS[0][1])], ledger(), "usage u1 has two cost rows for input_tokens"),
        (USAGES, [COSTS[0], cost(2, "input_tokens", 21, "0.2")], ledger(), "usage u2: used"),
        (USAGES, [*COSTS, cost(1, "input_tokens", 10, "0.11")], ledger(), "cost row c1-input_tokens was"),
        (USAGES, COSTS, ledger(total="0.31"), "the ledger's cost is 0.31, the cost topic's 0.3"),
        (USAGES, COSTS, ledger(input_tokens=31), "m/input_tokens: usage 30, ledger 31"),
        (USAGES, COSTS, ledger(usages=3), "the ledger rated 3 usages, the topic holds 2"),
    ],
)  # fmt: skip
def test_any_difference_is_named(usages, costs, said, difference):
    """Lost, doubled, stray or changed: each is said in words."""
    found = reconcile(usages, costs, said)

    assert not found.equal
    assert any(line.startswith(difference) for line in found.differences)
