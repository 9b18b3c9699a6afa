"""The questions about usage, budgets and prices: they change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headrace_errors import InvalidMessage

from headrace_meter.accounts import Standing
from headrace_meter.domain import day_of
from headrace_meter.ports import (
    BudgetBook,
    Clock,
    Quantities,
    Selection,
    Unknown,
    UnknownBook,
    UsageBook,
    UsageReport,
)
from headrace_meter.prices import PriceList

GROUPS = ("model", "feature", "operation", "principal", "request", "meter", "day")
SUMS_MAX = 10_000
STANDINGS_MAX = 1_000  # accounts of one budget that holds for each value by itself
UNKNOWN_MAX = 1_000  # usages


@dataclass(frozen=True, slots=True)
class UnknownUsages:
    """Usages of which nobody knows for sure how much they were; `more` where these are not all."""

    usages: Sequence[Unknown]
    more: bool


async def get_usage(selection: Selection, group_by: Sequence[str], *, book: UsageBook) -> UsageReport:
    """Sum a tenant's usage; InvalidMessage for a group that does not exist or more than SUMS_MAX sums."""
    unknown = [name for name in group_by if name not in GROUPS]
    if unknown or len(set(group_by)) != len(group_by):
        raise InvalidMessage(f"group_by takes each of {', '.join(GROUPS)} once, not {', '.join(group_by)}")
    report = await book.report(selection, group_by, sums_max=SUMS_MAX)
    if len(report.sums) > SUMS_MAX:
        raise InvalidMessage(f"more than {SUMS_MAX} groups: ask for fewer or for less time", reason="too_many_groups")
    return report


async def get_budgets(tenant: str, *, book: BudgetBook, clock: Clock) -> Sequence[Standing]:
    """Return how a tenant's budgets stand in their current periods, by name."""
    return await book.standings(tenant, day_of(clock()), accounts_max=STANDINGS_MAX)


def price(tenant: str, model: str, quantities: Quantities, *, prices: PriceList, clock: Clock) -> int:
    """Return what the quantities would cost the tenant now, in picos, without holding anything; ModelUnpriced."""
    return prices.cost_picos(model, checked(quantities), clock(), tenant=tenant)


async def get_unknown(tenant: str, request_id: str, *, book: UnknownBook) -> UnknownUsages:
    """Return what a tenant's attempts (of one request, or all) used that nobody knows, `unknown` ones first."""
    found = await book.unknown(tenant, request_id, usages_max=UNKNOWN_MAX + 1)
    return UnknownUsages(found[:UNKNOWN_MAX], len(found) > UNKNOWN_MAX)


def checked(quantities: Quantities) -> Quantities:
    """Return quantities as they are; InvalidMessage names those below 0."""
    negative = [meter for meter, quantity in quantities.items() if quantity < 0]
    if negative:
        raise InvalidMessage(f"negative quantity of {', '.join(negative)}")
    return quantities
