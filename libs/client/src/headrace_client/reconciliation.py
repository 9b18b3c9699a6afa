"""Usage = ledger = cost topic: compares what was used, what the ledger says, and what finance reads, row by row.

Pure: it is given events and sums, wherever they were read. A fact delivered twice is one fact, by its event id; two
different contents under one id are a difference. Amounts are decimals, exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from google.protobuf.message import Message
from headrace.cost.v1.cost_pb2 import CostRecorded
from headrace.meter.v1.meter_service_pb2 import GetUsageResponse
from headrace.usage.v1.usage_pb2 import UsageRecorded

DIFFERENCES_MAX = 100

Sums = Mapping[str, int]
M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The three places side by side: quantities by `model/meter`, and cost in the two that know money.

    `differences` says in words what does not agree, at most DIFFERENCES_MAX lines; none means that all three agree.
    """

    usages: int
    cost_rows: int
    usage: Sums
    ledger: Sums
    cost_topic: Sums
    ledger_cost: Decimal
    cost_topic_cost: Decimal
    differences: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """True when usage, ledger and cost topic agree."""
        return not self.differences

    def as_json(self) -> dict[str, Any]:
        """Return the comparison for programs; the keys are stable."""
        return {
            "equal": self.equal,
            "usages": self.usages,
            "cost_rows": self.cost_rows,
            "usage": dict(self.usage),
            "ledger": dict(self.ledger),
            "cost_topic": dict(self.cost_topic),
            "ledger_cost": f"{self.ledger_cost:f}",
            "cost_topic_cost": f"{self.cost_topic_cost:f}",
            "differences": list(self.differences),
        }


def reconcile(
    usages: Iterable[tuple[str, UsageRecorded]], costs: Iterable[tuple[str, CostRecorded]], ledger: GetUsageResponse
) -> Reconciliation:
    """Compare (event id, payload) pairs of both topics with the ledger's sums by `model` and `meter`.

    All three must cover the same tenant and time. On a topic that forgets, restrict the ledger's sums to what it holds.
    """
    # A repeated call may tell its usage again with other times: what it used is what counts.
    known_usages, differences = _distinct(usages, "usage", lambda usage: (usage.model, _used(usage)))
    known_costs, doubled = _distinct(costs, "cost row", lambda row: row)
    differences += doubled
    differences += _row_differences(known_usages, known_costs)
    in_usage = _sums((one.model, part.meter, part.quantity) for one in known_usages.values() for part in one.quantities)
    on_topic = _sums((row.x_model, row.sku_meter, int(row.consumed_quantity)) for row in known_costs.values())
    in_ledger = _sums((row.group["model"], part.meter, part.quantity) for row in ledger.rows for part in row.quantities)
    topic_cost = sum((Decimal(row.billed_cost) for row in known_costs.values()), Decimal(0))
    ledger_cost = Decimal(ledger.total_cost or "0")
    differences += _sum_differences("usage", in_usage, "ledger", in_ledger)
    differences += _sum_differences("ledger", in_ledger, "cost topic", on_topic)
    if ledger_cost != topic_cost:
        differences.append(f"the ledger's cost is {ledger_cost:f}, the cost topic's {topic_cost:f}")
    if ledger.usages != len(known_usages):
        differences.append(f"the ledger rated {ledger.usages} usages, the topic holds {len(known_usages)}")
    return Reconciliation(
        usages=len(known_usages),
        cost_rows=len(known_costs),
        usage=in_usage,
        ledger=in_ledger,
        cost_topic=on_topic,
        ledger_cost=ledger_cost,
        cost_topic_cost=topic_cost,
        differences=tuple(differences[:DIFFERENCES_MAX]),
    )


def _distinct(
    events: Iterable[tuple[str, M]], what: str, content: Callable[[M], object]
) -> tuple[dict[str, M], list[str]]:
    known: dict[str, M] = {}
    differences = []
    for event_id, payload in events:
        if content(known.setdefault(event_id, payload)) != content(payload):
            differences.append(f"{what} {event_id} was published with two contents")
    return known, differences


def _row_differences(usages: Mapping[str, UsageRecorded], costs: Mapping[str, CostRecorded]) -> list[str]:
    """Compare usage by usage: each has one row for every meter that it used, and no row stands alone."""
    rated: dict[str, Counter[str]] = {}
    differences = []
    for row in costs.values():
        meters = rated.setdefault(row.x_usage_id, Counter())
        if row.sku_meter in meters:
            differences.append(f"usage {row.x_usage_id} has two cost rows for {row.sku_meter}")
        meters[row.sku_meter] += int(row.consumed_quantity)
    for usage_id, usage in usages.items():
        if usage_id not in rated:
            differences.append(f"usage {usage_id} has no cost row")
        elif +_used(usage) != +rated[usage_id]:  # plus leaves out what is zero
            differences.append(f"usage {usage_id}: used {dict(_used(usage))}, rated {dict(rated[usage_id])}")
    strays = sorted(rated.keys() - usages.keys())
    return [*differences, *(f"cost rows of usage {usage_id}, which the topic does not hold" for usage_id in strays)]


def _used(usage: UsageRecorded) -> Counter[str]:
    used: Counter[str] = Counter()
    for part in usage.quantities:
        used[part.meter] += part.quantity
    return used


def _sum_differences(one_name: str, one: Sums, other_name: str, other: Sums) -> list[str]:
    return [
        f"{name}: {one_name} {one.get(name, 0)}, {other_name} {other.get(name, 0)}"
        for name in sorted(one.keys() | other.keys())
        if one.get(name, 0) != other.get(name, 0)
    ]


def _sums(parts: Iterable[tuple[str, str, int]]) -> Sums:
    sums: Counter[str] = Counter()
    for model, meter, quantity in parts:
        sums[f"{model}/{meter}"] += quantity
    return {name: total for name, total in sorted(sums.items()) if total}
