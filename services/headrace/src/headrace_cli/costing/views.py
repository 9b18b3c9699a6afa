"""Sums on a terminal: a table, or bars."""

from __future__ import annotations

from decimal import Decimal

from headrace_meter.money import plain
from rich.table import Table
from rich.text import Text

from headrace_cli.costing.repricing import Repriced
from headrace_cli.costing.sums import MONTH, CostSums
from headrace_cli.output import table
from headrace_cli.reconciling import Reconciled

BARS_MAX = 30
BAR_CELLS = 40
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def sums_table(sums: CostSums) -> Table:
    """Return a line a group."""
    shown = table(*sums.groups, "quantities", f"cost ({sums.currency})")
    for row in sums.rows:
        quantities = ", ".join(f"{count} {meter}" for meter, count in row.quantities.items())
        shown.add_row(*(value or "-" for value in row.group.values()), quantities, plain(row.cost))
    return shown


def sums_chart(sums: CostSums) -> Table:
    """Return a bar a group, the dearest first; days and months in their order. Beyond BARS_MAX, the rest is one bar."""
    rows = list(sums.rows)
    if not {"day", MONTH} & set(sums.groups):
        rows.sort(key=lambda row: -row.cost)
    bars = [(" / ".join(value or "-" for value in row.group.values()), row.cost) for row in rows[:BARS_MAX]]
    if rest := rows[BARS_MAX:]:
        bars.append((f"{len(rest)} more", sum((row.cost for row in rest), Decimal(0))))
    longest = max((cost for _, cost in bars), default=Decimal(0))
    shown = table("/".join(sums.groups), "", f"cost ({sums.currency})")
    for name, cost in bars:
        shown.add_row(name, Text(bar(cost, longest), style="cyan", no_wrap=True), plain(cost))
    return shown


def bar(cost: Decimal, longest: Decimal, *, cells: int = BAR_CELLS) -> str:
    """Draw a cost against the longest one, to an eighth of a cell; something that is not 0 is never invisible."""
    if not longest or cost <= 0:
        return ""
    eighths = max(int(cost * cells * 8 / longest), 1)
    whole, rest = divmod(eighths, 8)
    return _EIGHTHS[8] * whole + (_EIGHTHS[rest] if rest else "")


def reconciled_table(found: Reconciled) -> Table:
    """Return a line a tenant, model and meter: what each place says."""
    shown = table("tenant", "model/meter", "used", "ledger", "cost topic", "ledger's cost", "cost topic's cost")
    for tenant, one in found.by_tenant.items():
        for name in sorted({*one.usage, *one.ledger_costs, *one.cost_topic_costs}):
            quantities = (str(place.get(name, 0)) for place in (one.usage, one.ledger, one.cost_topic))
            costs = (plain(place.get(name, Decimal(0))) for place in (one.ledger_costs, one.cost_topic_costs))
            shown.add_row(tenant, name, *quantities, *costs)
    return shown


def repriced_table(found: Repriced) -> Table:
    """Return what each tenant's meters cost, would cost, and the difference."""
    shown = table("tenant", "model", "meter", f"now ({found.currency})", found.version, "difference")
    for (tenant, model, meter), before, after in found.rows():
        sign = "+" if after > before else ""
        shown.add_row(tenant, model, meter, plain(before), plain(after), sign + plain(after - before))
    return shown
