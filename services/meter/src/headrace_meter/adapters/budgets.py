"""Tenants and budgets as the tenants file declares them."""

from __future__ import annotations

from collections.abc import Sequence

from headrace_errors import Refused
from headrace_runtime import Tenants

from headrace_meter.budgets import Budget
from headrace_meter.money import picos_of


class DeclaredTenants:
    """Who may spend at all."""

    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    def check(self, tenant: str) -> None:
        """Raise Refused for a tenant that is not declared."""
        if self._tenants.get(tenant) is None:
            raise Refused(f"tenant {tenant!r} is not declared", reason="unknown_tenant")


def declared_budgets(tenants: Tenants) -> Sequence[Budget]:
    """Return every tenant's budgets."""
    return [
        Budget(
            tenant=tenant.id,
            period=one.period,
            amount_picos=picos_of(one.amount),
            hard=one.hard,
            thresholds_percent=one.thresholds_percent,
            **one.scope,
        )
        for tenant in tenants.by_id.values()
        for one in tenant.budgets
    ]
