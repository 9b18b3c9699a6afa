"""Which usages and credits a question is about, and what they are summed under: for the ledger in memory."""

from __future__ import annotations

from datetime import UTC, datetime

from headrace_meter.charges import Charge
from headrace_meter.domain import Credit, Usage
from headrace_meter.ports import Selection


def selected(usage: Usage, selection: Selection) -> bool:
    """Tell whether a question is about this usage."""
    return (
        usage.tenant == selection.tenant
        and selection.request_id in ("", usage.request_id)
        and _within(usage.started_at, selection)
    )


def given(credit: Credit, selection: Selection) -> bool:
    """Tell whether a question is about this credit."""
    return credit.tenant == selection.tenant and not selection.request_id and _within(credit.granted_at, selection)


def _within(moment: datetime, selection: Selection) -> bool:
    return (selection.since is None or moment >= selection.since) and (
        selection.before is None or moment < selection.before
    )


def label(usage: Usage, charge: Charge, name: str) -> str:
    """Return what a charge is summed under in a group."""
    labels = {
        "model": usage.model,
        "feature": usage.feature,
        "operation": usage.operation,
        "principal": usage.principal,
        "request": usage.request_id,
        "meter": charge.meter,
        "day": f"{usage.started_at.astimezone(UTC):%Y-%m-%d}",
    }
    return labels[name]
