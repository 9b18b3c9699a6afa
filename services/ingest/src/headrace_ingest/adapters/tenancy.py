"""The declared tenants as admission asks for them."""

from headrace_runtime import Tenants


class DeclaredTenancy:
    """Tenants from the platform's tenants file."""

    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    def declared(self, tenant: str) -> bool:
        """Tell whether the file has the tenant."""
        return self._tenants.get(tenant) is not None

    def principals_of(self, tenant: str, auth_id: str) -> tuple[str, ...] | None:
        """Return what somebody of a tenant may act as; see Tenant.principals_of."""
        found = self._tenants.get(tenant)
        return found.principals_of(auth_id) if found else None

    def knows(self, tenant: str, principal: str) -> bool:
        """Tell whether somebody can hold the principal: a declared name or group, or any name in an open tenant."""
        found = self._tenants.get(tenant)
        if found is None:
            return False
        return found.open or any(principal in {name, *groups} for name, groups in found.groups_of.items())
