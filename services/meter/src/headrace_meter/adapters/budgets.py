"""Budgets as the tenants file declares them."""

from __future__ import annotations

from headrace_errors import Refused
from headrace_runtime import Tenants

from headrace_meter.money import picos_of


class DeclaredBudgets:
    """Monthly limits by tenant."""

    def __init__(self, tenants: Tenants) -> None:
        self._limits = {
            tenant.id: None if tenant.budget_monthly is None else picos_of(tenant.budget_monthly)
            for tenant in tenants.by_id.values()
        }

    def limit_picos(self, tenant: str) -> int | None:
        """Return a tenant's monthly limit; Refused when it is not declared."""
        if tenant not in self._limits:
            raise Refused(f"tenant {tenant!r} is not declared", reason="unknown_tenant")
        return self._limits[tenant]

    def limit_picos_if_known(self, tenant: str) -> int | None:
        """Return a tenant's monthly limit; None when it is not declared."""
        return self._limits.get(tenant)
