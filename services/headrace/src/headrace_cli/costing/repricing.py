"""What used quantities would cost under another price book: a shadow ledger beside the real one. Nothing is booked.

The usage topic, as it was corrected, is rated anew, in the order in which attempts began, over the time that the topic
still holds. Where that time begins within a month, tiers go on from what the real ledger counted of it before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from headrace import topics
from headrace.usage.v1.usage_pb2 import UsageRecorded
from headrace_client import CostDesk, Tally
from headrace_client.costs import Held, Span
from headrace_meter.money import plain
from headrace_meter.prices import ModelUnpriced, PriceList

Key = tuple[str, str, str]
"""A tenant, a model and a meter."""


@dataclass
class ShadowLedger:
    """Sums of what was rated anew, in picos; and how many usages of which model have no price in this book."""

    prices: PriceList
    costs_picos: Counter[Key] = field(default_factory=Counter)
    unpriced: Counter[str] = field(default_factory=Counter)
    _counted: dict[tuple[str, str, str], Counter[str]] = field(default_factory=dict)

    def book(self, tenant: str, model: str, began: datetime, quantities: Mapping[str, int]) -> None:
        """Rate one usage after all those that began before it."""
        counted = self._counted.setdefault((tenant, f"{began:%Y-%m}", model), Counter())
        try:
            parts = self.prices.parts(model, quantities, began, tenant=tenant, counted=counted)
        except ModelUnpriced:
            self.unpriced[model] += 1
            return
        for part in parts:
            self.costs_picos[tenant, model, part.price.meter] += part.cost_picos
        counted.update(quantities)

    def count(self, tenant: str, month: str, model: str, meter: str, quantity: int) -> None:
        """Take in what a month had before the first usage that is rated here."""
        self._counted.setdefault((tenant, month, model), Counter())[meter] += quantity


@dataclass(frozen=True, slots=True)
class Repriced:
    """What each tenant's meters cost in the ledger, and what they would under another book."""

    span: Span
    currency: str
    version: str
    before: Mapping[Key, Decimal]
    after: Mapping[Key, Decimal]
    unpriced: Mapping[str, int]

    def rows(self) -> list[tuple[Key, Decimal, Decimal]]:
        """Return both costs of every tenant, model and meter."""
        keys = sorted(self.before.keys() | self.after.keys())
        return [(key, self.before.get(key, Decimal(0)), self.after.get(key, Decimal(0))) for key in keys]

    def as_json(self) -> dict[str, Any]:
        """Return the comparison for programs; the keys are stable."""
        rows = [
            {"tenant": tenant, "model": model, "meter": meter, "before": plain(before), "after": plain(after)}
            for (tenant, model, meter), before, after in self.rows()
        ]
        return {
            "since": self.span.since.isoformat() if self.span.since else None,
            "until": self.span.until.isoformat() if self.span.until else None,
            "currency": self.currency,
            "price_version": self.version,
            "before": plain(sum(self.before.values(), Decimal(0))),
            "after": plain(sum(self.after.values(), Decimal(0))),
            "unpriced": dict(self.unpriced),
            "rows": rows,
        }


async def reprice(
    desk: CostDesk, prices: PriceList, *, bus_since: datetime | None = None, since: datetime | None = None
) -> Repriced:
    """Rate the usage of the desk's tenants anew; it began after `bus_since`, from `since` on, as the topic holds it."""
    held = Held(datetime.now(UTC))
    shadow = ShadowLedger(prices)
    with Tally() as tally:
        async for event in desk.read([topics.USAGE_RECORDED, topics.USAGE_CORRECTED], held):
            if event.envelope.tenant in desk.tenants:
                usage = event.payload if isinstance(event.payload, UsageRecorded) else event.payload.usage
                tally.add_usage(event.envelope.tenant, event.envelope.id, usage)
        limits = [moment for moment in (bus_since, held.since, since) if moment]
        span = Span(max(limits, default=None), held.asked_at)
        if prices.tiered and span.since:
            await _count_before(desk, shadow, span.since)
        for usage in tally.usages(span):
            shadow.book(*usage)
    return Repriced(
        span=span,
        currency=prices.currency,
        version=prices.version,
        before=await _ledger(desk, span),
        after={key: Decimal(picos).scaleb(-12) for key, picos in shadow.costs_picos.items()},
        unpriced=shadow.unpriced,
    )


async def _ledger(desk: CostDesk, span: Span) -> Mapping[Key, Decimal]:
    since, until = (moment.isoformat() if moment else "" for moment in (span.since, span.until))
    costs: dict[Key, Decimal] = {}
    for tenant in desk.tenants:
        usage = await desk.usage(tenant, group_by=["model", "meter"], since=since, until=until)
        for row in usage.rows:
            if any(part.quantity for part in row.quantities):
                costs[tenant, row.group["model"], row.group["meter"]] = Decimal(row.cost or 0)
    return costs


async def _count_before(desk: CostDesk, shadow: ShadowLedger, since: datetime) -> None:
    month = since.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    for tenant in desk.tenants:
        usage = await desk.usage(tenant, group_by=["model", "meter"], since=month.isoformat(), until=since.isoformat())
        for row in usage.rows:
            for part in row.quantities:
                shadow.count(tenant, f"{month:%Y-%m}", row.group["model"], part.meter, part.quantity)
