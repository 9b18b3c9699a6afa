"""What nobody knows, in SQL: provisional usages whose attempts have no other booked, found by an index of their own."""

from __future__ import annotations

from collections.abc import Sequence

from headrace_storage import Database
from sqlalchemy import and_, func, not_, select

from headrace_meter.adapters.rows import usage_of
from headrace_meter.adapters.tables import CHARGES, HOLDS, RESERVATIONS, USAGES, provisional
from headrace_meter.ports import Unknown

_KNOWN = USAGES.alias("known")
_ATTEMPT = ("tenant", "request_id", "attempt_id")


class SqlUnknownBook:
    """Reads the provisional usages of one tenant; never waits for a writer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def unknown(self, tenant: str, request_id: str, *, usages_max: int) -> Sequence[Unknown]:
        """Return usages that are unknown, then those estimated; newest first."""
        usage = USAGES.c
        same = and_(*(_KNOWN.c[name] == usage[name] for name in _ATTEMPT))
        rated = and_(CHARGES.c.tenant == _KNOWN.c.tenant, CHARGES.c.usage_id == _KNOWN.c.usage_id)
        told = select(_KNOWN.c.usage_id).join(CHARGES, rated).where(same, not_(provisional(_KNOWN))).exists()
        charged = and_(CHARGES.c.tenant == usage.tenant, CHARGES.c.usage_id == usage.usage_id)
        cost = select(func.coalesce(func.sum(CHARGES.c.cost_picos), 0)).where(charged).scalar_subquery()
        held = and_(
            RESERVATIONS.c.tenant == usage.tenant,
            RESERVATIONS.c.reservation_id == usage.reservation_id,
            HOLDS,
        )
        query = (
            select(USAGES, cost.label("cost"), func.coalesce(RESERVATIONS.c.amount_picos, 0).label("held"))
            .outerjoin(RESERVATIONS, held)
            .where(usage.tenant == tenant, provisional(USAGES), not_(told))
            .order_by(usage.status != "unknown", usage.started_us.desc(), usage.usage_id)
            .limit(usages_max)
        )
        if request_id:
            query = query.where(usage.request_id == request_id)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        # Sums of BIGINT are NUMERIC in PostgreSQL.
        return [Unknown(usage_of(dict(row)), int(row["cost"]), int(row["held"])) for row in rows]
