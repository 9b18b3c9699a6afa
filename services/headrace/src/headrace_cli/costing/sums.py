"""The ledger's sums by group, of one tenant or of several beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from headrace_client import CostDesk

TENANT = "tenant"
LEDGER_GROUPS = ("model", "feature", "operation", "principal", "request", "meter", "day")
MONTH = "month"
GROUPS = (TENANT, *LEDGER_GROUPS, MONTH)
GROUPS_DEFAULT = ("operation", "model")


@dataclass(frozen=True, slots=True)
class CostRow:
    """One group: its values by name, quantities by meter, and what they cost."""

    group: Mapping[str, str]
    quantities: Mapping[str, int]
    cost: Decimal


@dataclass(frozen=True, slots=True)
class CostSums:
    """Sums in one currency; `reserved` is held and not spent yet, `credits` were given back in that time.

    `unknown` counts usages of which nobody knows for sure how much they were, whenever; 1,000 a tenant at most.
    """

    groups: tuple[str, ...]
    currency: str
    rows: tuple[CostRow, ...] = field(default_factory=tuple)
    total: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)
    credits: Decimal = Decimal(0)
    unknown: int = 0

    @property
    def billed(self) -> Decimal:
        """What is left to pay of what was used, after credits."""
        return self.total - self.credits

    def as_json(self, tenants: Sequence[str]) -> dict[str, Any]:
        """Return the sums for programs; the keys are stable."""
        whose: dict[str, Any] = {"tenant": tenants[0]} if len(tenants) == 1 else {"tenants": list(tenants)}
        rows = [{**row.group, "quantities": dict(row.quantities), "cost": f"{row.cost:f}"} for row in self.rows]
        return whose | {
            "currency": self.currency,
            "total_cost": f"{self.total:f}",
            "credits": f"{self.credits:f}",
            "reserved": f"{self.reserved:f}",
            "unknown": self.unknown,
            "rows": rows,
        }


def groups_of(given: Sequence[str]) -> tuple[str, ...]:
    """Read `--by`, which may be repeated and may hold commas; ValueError names what is no group or comes twice."""
    groups = tuple(name.strip() for each in given for name in each.split(",")) or GROUPS_DEFAULT
    for name in groups:
        if name not in GROUPS:
            raise ValueError(f"unknown group {name!r}; known: {', '.join(GROUPS)}")
        if groups.count(name) > 1:
            raise ValueError(f"group {name!r} stands twice")
    return groups


async def sums_of(
    desk: CostDesk,
    groups: Sequence[str],
    *,
    request_id: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
) -> CostSums:
    """Ask the ledger for every tenant of the desk; without the group `tenant` their sums are added up.

    Months are added up from days, for days are what the ledger groups by.
    """
    asked = list(dict.fromkeys("day" if name == MONTH else name for name in groups if name != TENANT))
    limits = {"since": since.isoformat() if since else "", "until": until.isoformat() if until else ""}
    found: dict[tuple[str, ...], CostRow] = {}
    total = reserved = credits_ = Decimal(0)
    currency, unknown = "", 0
    for tenant in desk.tenants:
        unknown += len((await desk.unknown(tenant, request_id=request_id)).usages)
        usage = await desk.usage(tenant, group_by=asked, request_id=request_id, **limits)
        currency, total = usage.currency, total + Decimal(usage.total_cost or 0)
        reserved += Decimal(usage.reserved or 0)
        credits_ += Decimal(usage.credits or 0)
        for row in usage.rows:
            known = {**row.group, TENANT: tenant, MONTH: row.group.get("day", "")[: len("2026-11")]}
            group = {name: known.get(name, "") for name in groups}
            quantities = {part.meter: part.quantity for part in row.quantities}
            _add(found, CostRow(group, quantities, Decimal(row.cost or 0)))
    rows = tuple(found[key] for key in sorted(found))
    return CostSums(tuple(groups), currency, rows, total, reserved, credits_, unknown)


def _add(found: dict[tuple[str, ...], CostRow], row: CostRow) -> None:
    key = tuple(row.group.values())
    before = found.get(key, CostRow(row.group, {}, Decimal(0)))
    meters = {**before.quantities, **row.quantities}
    quantities = {meter: before.quantities.get(meter, 0) + row.quantities.get(meter, 0) for meter in meters}
    found[key] = CostRow(row.group, quantities, before.cost + row.cost)
