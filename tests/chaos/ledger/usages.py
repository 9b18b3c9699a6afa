"""The usages of a run: its own list, its own sum, and how they come, some of them twice and some of them late.

Values and arithmetic of its own: nothing here is the product's, and records are written by hand as any producer may.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

MODEL = "chaos"
TENANTS = tuple(f"spender-{number}" for number in range(8))
CURRENCY = "USD"
_NEW_PRICES_FROM = datetime(2026, 11, 1, tzinfo=UTC)
_METERS = ("input_tokens", "cached_input_tokens", "output_tokens")
_PER_MILLION = {  # a late usage pays what held in its own month
    late: dict(zip(_METERS, map(Decimal, prices), strict=True))
    for late, prices in ((False, ("0.013", "0.001", "0.13")), (True, ("0.017", "0.002", "0.19")))
}
_AGAIN = 0.10
_LATE = 0.01
_AGAIN_AFTER_MAX = 5_000  # other messages; most repeats come soon, some after many
_SOON = 50


@dataclass(frozen=True, slots=True)
class Used:
    """One usage: what it used by meter, and whether its attempt began a month before it is told of."""

    id: str
    tenant: str
    quantities: Mapping[str, int]
    late: bool

    @property
    def began(self) -> datetime:
        """When its attempt began."""
        month = timedelta(days=31) if self.late else timedelta(days=0)
        return _NEW_PRICES_FROM + timedelta(days=10, hours=9) - month

    @property
    def cost(self) -> Decimal:
        """What it costs, to the last digit."""
        prices = _PER_MILLION[self.late]
        return sum((count * prices[meter] for meter, count in self.quantities.items()), Decimal(0)) / 10**6

    def headers(self) -> list[tuple[str, bytes]]:
        """Return its record's headers; the deadline of a late one has passed long ago."""
        told = (self.began + timedelta(seconds=3)).isoformat().replace("+00:00", "Z")
        texts = {
            "content-type": "application/json",
            "ce_specversion": "1.0",
            "ce_id": self.id,
            "ce_source": "/chaos",
            "ce_type": "headrace.usage.recorded.v1",
            "ce_time": told,
            "ce_tenant": self.tenant,
        } | ({"ce_deadline": told} if self.late else {})
        return [(name, text.encode()) for name, text in texts.items()]

    def body(self) -> bytes:
        """Return its record's value."""
        began, ended = self.began, self.began + timedelta(seconds=2)
        quantities = [{"meter": meter, "quantity": str(count)} for meter, count in self.quantities.items()]
        return json.dumps(
            {
                "attemptId": f"{self.id}-attempt",
                "requestId": f"{self.id}-request",
                "tenant": self.tenant,
                "operation": "generate",
                "model": MODEL,
                "provider": "headrace",
                "status": "completed" if quantities else "failed",
                "quantities": quantities,
                "startedAt": began.isoformat().replace("+00:00", "Z"),
                "endedAt": ended.isoformat().replace("+00:00", "Z"),
                "attempt": 1,
            }
        ).encode()


def usages(seed: int, count: int) -> list[Used]:
    """Return the list: one in fifty used nothing, one in a hundred is late and comes last."""
    chance = random.Random(seed)
    made = []
    for number in range(count):
        counts = {meter: chance.randrange(1, 2_000) for meter in _METERS if chance.random() < 0.8}
        nothing = chance.random() < 0.02
        late = chance.random() < _LATE
        made.append(Used(f"used-{seed}-{number}", chance.choice(TENANTS), {} if nothing else counts, late))
    return sorted(made, key=lambda one: one.late)


def deliveries(seed: int, listed: Sequence[Used]) -> list[Used]:
    """Return them as they are published: each once, and one in ten a second time, soon after or much later."""
    chance = random.Random(seed + 1)
    placed = [(float(at), one) for at, one in enumerate(listed)]
    for at, one in enumerate(listed):
        if chance.random() < _AGAIN:
            after = chance.choice((1, _SOON, _AGAIN_AFTER_MAX))
            placed.append((at + chance.uniform(0.5, after + 0.5), one))
    return [one for _, one in sorted(placed, key=lambda each: each[0])]


def quantities_of(listed: Sequence[Used]) -> Counter[tuple[str, str]]:
    """Return the sum of the list by tenant and meter."""
    sums: Counter[tuple[str, str]] = Counter()
    for one in listed:
        sums.update({(one.tenant, meter): count for meter, count in one.quantities.items()})
    return sums


def cost_of(listed: Sequence[Used], tenant: str) -> Decimal:
    """Return what a tenant's usages cost."""
    return sum((one.cost for one in listed if one.tenant == tenant), Decimal(0))


def declaration() -> dict[str, object]:
    """Return the tenants file: prices of two months; nobody's budget is ever reached."""
    rates = [
        {"model": MODEL, "from": day, "per_million": {meter: str(price) for meter, price in _PER_MILLION[late].items()}}
        for day, late in (("2026-01-01", True), (f"{_NEW_PRICES_FROM:%Y-%m-%d}", False))
    ]
    each = {"open": True, "principals": {}, "budget": {"monthly": "1000000"}}
    tenants = {tenant: {"name": tenant} | each for tenant in TENANTS}
    return {"currency": CURRENCY, "tenants": tenants, "prices": {"version": "chaos-1", "rates": rates}}
