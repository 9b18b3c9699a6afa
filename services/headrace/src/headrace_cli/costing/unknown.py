"""Attempts of which nobody knows what they used: asked of meter for one tenant or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from headrace.meter.v1.meter_service_pb2 import UnknownUsage
from headrace_client import CostDesk
from headrace_meter.money import plain
from rich.table import Table

from headrace_cli.output import table


@dataclass(frozen=True, slots=True)
class Unknowns:
    """Usages by tenant, in one currency; `more` where a tenant has more than these."""

    currency: str
    usages: Sequence[tuple[str, UnknownUsage]]
    more: bool

    def as_json(self) -> dict[str, Any]:
        """Return them for programs; the keys are stable."""
        usages = [unknown_as_json(tenant, one) for tenant, one in self.usages]
        return {"currency": self.currency, "more": self.more, "usages": usages}


async def unknowns_of(desk: CostDesk, request_id: str = "") -> Unknowns:
    """Ask for every tenant of the desk, and of one request where it is named."""
    found, currency, more = [], "", False
    for tenant in desk.tenants:
        response = await desk.unknown(tenant, request_id=request_id)
        currency, more = response.currency, more or response.more
        found += [(tenant, one) for one in response.usages]
    return Unknowns(currency, found, more)


def unknowns_table(unknowns: Unknowns) -> Table:
    """Return a line a usage."""
    columns = ("tenant", "request", "attempt", "id", "model", "began", "told", f"charged ({unknowns.currency})", "held")
    shown = table(*columns)
    for tenant, one in unknowns.usages:
        usage = one.usage
        amounts = (plain(Decimal(amount)) for amount in (one.cost, one.reserved))
        named = (tenant, usage.request_id or "-", str(usage.attempt), usage.attempt_id, usage.model)
        shown.add_row(*named, usage.started_at[: len("2026-11-21T12:00:00")], told_of(one), *amounts)
    return shown


def told_of(one: UnknownUsage) -> str:
    """Say why nobody knows: the attempt ended `unknown`, or was `estimated`."""
    return "unknown" if one.usage.status == "unknown" else "estimated"


def unknown_as_json(tenant: str, one: UnknownUsage) -> dict[str, Any]:
    """Return one of them for programs; the keys are stable."""
    usage = one.usage
    return {
        "tenant": tenant,
        "request_id": usage.request_id,
        "attempt": usage.attempt,
        "attempt_id": usage.attempt_id,
        "operation": usage.operation,
        "model": usage.model,
        "provider": usage.provider,
        "started_at": usage.started_at,
        "told": told_of(one),
        "quantities": {part.meter: part.quantity for part in usage.quantities},
        "charged": one.cost,
        "held": one.reserved,
    }
