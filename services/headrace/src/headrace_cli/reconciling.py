"""Usage = ledger = cost topic: what the services published, what the ledger holds, and what finance reads must agree.

It counts from the topics and asks the ledger; it reads no service's tables.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from headrace import topics
from headrace_client import Client

WAIT_S = 10.0
POLL_S = 0.2

Quantities = dict[str, int]


@dataclass(frozen=True)
class Reconciliation:
    """Quantities by `model/meter` in each of the three places; the cost in the two that know money."""

    usage: Quantities
    ledger: Quantities
    cost_topic: Quantities
    ledger_cost: Decimal
    cost_topic_cost: Decimal

    @property
    def equal(self) -> bool:
        """True when all three agree."""
        return self.usage == self.ledger == self.cost_topic and self.ledger_cost == self.cost_topic_cost

    def as_json(self) -> dict[str, Any]:
        """Return what the report says."""
        return {
            "equal": self.equal,
            "usage": self.usage,
            "ledger": self.ledger,
            "cost_topic": self.cost_topic,
            "ledger_cost": str(self.ledger_cost),
            "cost_topic_cost": str(self.cost_topic_cost),
        }


async def reconcile_topics(client: Client) -> Reconciliation:
    """Compare the three; what is still on its way gets `WAIT_S` seconds to arrive.

    The embedded bus holds what was published since its start: run this on a platform that was started once.
    """
    until = asyncio.get_running_loop().time() + WAIT_S
    while True:
        found = await _compare(client)
        if found.equal or asyncio.get_running_loop().time() > until:
            return found
        await asyncio.sleep(POLL_S)


async def _compare(client: Client) -> Reconciliation:
    usage: Counter[str] = Counter()
    for event in await client.events_so_far(topics.USAGE_RECORDED):
        for one in event.payload.quantities:
            usage[f"{event.payload.model}/{one.meter}"] += one.quantity
    cost_topic: Counter[str] = Counter()
    cost_topic_cost = Decimal(0)
    for event in await client.events_so_far(topics.COST_RECORDED):
        row = event.payload
        cost_topic[f"{row.x_model}/{row.sku_meter}"] += int(row.consumed_quantity)
        cost_topic_cost += Decimal(row.billed_cost)
    rated = await client.usage(group_by=["model", "meter"])
    ledger: Counter[str] = Counter()
    for ledger_row in rated.rows:
        for one in ledger_row.quantities:
            ledger[f"{ledger_row.group['model']}/{one.meter}"] += one.quantity
    return Reconciliation(
        _without_zeros(usage),
        _without_zeros(ledger),
        _without_zeros(cost_topic),
        Decimal(rated.total_cost),
        cost_topic_cost,
    )


def _without_zeros(counted: Counter[str]) -> Quantities:
    return {name: count for name, count in sorted(counted.items()) if count}
