"""How budgets stand: asked of meter for one tenant or several, as a table or for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from headrace.meter.v1.meter_service_pb2 import BudgetStanding
from headrace_client import CostDesk
from headrace_meter.money import plain
from rich.table import Table
from rich.text import Text

from headrace_cli.costing.views import bar
from headrace_cli.output import table

_BAR_CELLS = 12
_FULL_PERCENT = 100


@dataclass(frozen=True, slots=True)
class Standings:
    """Budgets by tenant, in one currency."""

    currency: str
    budgets: Sequence[tuple[str, BudgetStanding]]

    def as_json(self) -> dict[str, Any]:
        """Return them for programs; the keys are stable."""
        return {"currency": self.currency, "budgets": [_as_json(tenant, one) for tenant, one in self.budgets]}


async def standings_of(desk: CostDesk) -> Standings:
    """Ask for every tenant of the desk."""
    found, currency = [], ""
    for tenant in desk.tenants:
        response = await desk.budgets(tenant)
        currency = response.currency
        found += [(tenant, one) for one in response.budgets]
    return Standings(currency, found)


def standings_table(standings: Standings) -> Table:
    """Return a line a budget, and one for each value of a budget that holds for each by itself."""
    shown = table("tenant", "budget", "of", "period", "limit", standings.currency, "spent", "reserved", "left", "used")
    for tenant, one in standings.budgets:
        amounts = (plain(Decimal(amount)) for amount in (one.limit, one.spent, one.reserved, one.left))
        hard = "hard" if one.hard else "soft"
        shown.add_row(tenant, one.budget, one.subject or "-", one.period, hard, *amounts, _used(one))
    return shown


def used_percent(standing: BudgetStanding) -> Decimal:
    """Return how much of the amount is spent or held; a budget of 0 is used up."""
    limit, left = Decimal(standing.limit), Decimal(standing.left)
    return (limit - left) * 100 / limit if limit else Decimal(_FULL_PERCENT)


def _used(standing: BudgetStanding) -> Text:
    percent = used_percent(standing)
    colour = "red" if percent >= _FULL_PERCENT else "yellow" if standing.announced_percent else "green"
    drawn = bar(min(percent, Decimal(_FULL_PERCENT)), Decimal(_FULL_PERCENT), cells=_BAR_CELLS)
    return Text.assemble(f"{percent:3.0f}% ", (drawn, colour))


def _as_json(tenant: str, standing: BudgetStanding) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "budget": standing.budget,
        "subject": standing.subject,
        "scope": dict(standing.scope),
        "period": standing.period,
        "limit": "hard" if standing.hard else "soft",
        "amount": standing.limit,
        "spent": standing.spent,
        "reserved": standing.reserved,
        "left": standing.left,
        "thresholds_percent": list(standing.thresholds_percent),
        "announced_percent": standing.announced_percent,
    }
