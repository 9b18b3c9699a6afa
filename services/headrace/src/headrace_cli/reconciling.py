"""Usage = ledger = cost topic on a running platform: reads the topics, asks the ledger, and waits for what is late.

It reads no service's tables; the comparison itself is the SDK's. What is compared is what the topics still hold, and
which range of time that is, is part of the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from headrace import topics
from headrace_client import Client, CostDesk, Reconciliation, Tally, reconcile
from headrace_client.costs import POLL_S, WAIT_S, Held, Span, ask_until

_GROUPS = ("model", "meter")


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Every tenant's comparison over one span, and the partitions that were read for it."""

    span: Span
    held: Held
    by_tenant: dict[str, Reconciliation]

    @property
    def equal(self) -> bool:
        """True when all three places agree for every tenant."""
        return all(found.equal for found in self.by_tenant.values())

    def as_json(self) -> dict[str, Any]:
        """Return the comparison for programs; the keys are stable."""
        return {
            "equal": self.equal,
            "since": _text(self.span.since),
            "until": _text(self.span.until),
            "partitions": self.held.as_json(),
            "tenants": {tenant: found.as_json() for tenant, found in self.by_tenant.items()},
        }


async def reconcile_platform(
    desk: CostDesk,
    *,
    bus_since: datetime | None = None,
    since: datetime | None = None,
    wait_s: float = WAIT_S,
    poll_s: float = POLL_S,
) -> Reconciled:
    """Compare every tenant's usage that began before now; what is on its way gets `wait_s` seconds to arrive.

    It began after `bus_since` (the embedded bus knows nothing from before its own start), after what the topics lost to
    retention, and from `since` on. Memory is bounded: the events lie in a temporary file.
    """
    held = Held(datetime.now(UTC))
    with Tally() as tally:

        async def compared() -> Reconciled:
            await _read_on(desk, tally, held)
            limits = [moment for moment in (bus_since, held.since, since) if moment]
            span = Span(max(limits, default=None), held.asked_at)
            return Reconciled(span, held, await _compare_all(desk, tally, span))

        return await ask_until(lambda found: found.equal, compared, wait_s=wait_s, poll_s=poll_s)


async def reconcile_topics(client: Client, *, wait_s: float = WAIT_S, poll_s: float = POLL_S) -> Reconciliation:
    """Compare a client's own tenant; what is still on its way gets `wait_s` seconds to arrive.

    The embedded bus holds what was published since its start: run this on a platform that was started once.
    """

    async def compared() -> Reconciliation:
        with Tally() as tally:
            for event in await client.events_so_far(topics.USAGE_RECORDED):
                tally.add_usage(client.tenant, event.envelope.id, event.payload)
            for event in await client.events_so_far(topics.USAGE_CORRECTED):
                tally.add_usage(client.tenant, event.envelope.id, event.payload.usage)
            for event in await client.events_so_far(topics.CREDIT_GRANTED):
                tally.add_credit(client.tenant, event.envelope.id, event.payload)
            for event in await client.events_so_far(topics.COST_RECORDED):
                tally.add_cost(client.tenant, event.envelope.id, event.payload)
            return reconcile(tally, client.tenant, await client.usage(group_by=_GROUPS))

    return await ask_until(lambda found: found.equal, compared, wait_s=wait_s, poll_s=poll_s)


async def _read_on(desk: CostDesk, tally: Tally, held: Held) -> None:
    # Usage, corrections and credits first: a cost row comes after them, so what is read later is never ahead of before.
    async for event in desk.read([topics.USAGE_RECORDED], held):
        tally.add_usage(event.envelope.tenant, event.envelope.id, event.payload)
    async for event in desk.read([topics.USAGE_CORRECTED], held):
        tally.add_usage(event.envelope.tenant, event.envelope.id, event.payload.usage)
    async for event in desk.read([topics.CREDIT_GRANTED], held):
        tally.add_credit(event.envelope.tenant, event.envelope.id, event.payload)
    async for event in desk.read([topics.COST_RECORDED], held):
        tally.add_cost(event.envelope.tenant, event.envelope.id, event.payload)


async def _compare_all(desk: CostDesk, tally: Tally, span: Span) -> dict[str, Reconciliation]:
    limits = {"since": _text(span.since) or "", "until": _text(span.until) or ""}
    tenants = sorted({*desk.tenants, *tally.tenants()})
    return {
        tenant: reconcile(tally, tenant, await desk.usage(tenant, group_by=_GROUPS, **limits), span)
        for tenant in tenants
    }


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
