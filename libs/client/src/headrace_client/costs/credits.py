"""Gives a tenant money back: a credit is an event, told once under its id, and booked by meter.

The same words are the same credit, however often they are said; who means another one gives it an id of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from headrace import topics
from headrace.cost.v1.credit_pb2 import CreditGranted
from headrace_errors import Refused
from headrace_messaging import Outgoing, event_id, new_envelope

from headrace_client.costs.desk import CostDesk
from headrace_client.costs.held import Held
from headrace_client.costs.patience import POLL_S, WAIT_S, ask_until

SOURCE = "/headrace/costs"


class CreditDiffers(Refused):
    """Another credit was granted under the same id."""

    default_reason = "credit_differs"


@dataclass(frozen=True, slots=True)
class Credited:
    """A credit under its id; `again` where it had been granted before, `booked` once it stands in the ledger."""

    credit_id: str
    amount: Decimal
    currency: str
    again: bool
    booked: bool

    def as_json(self) -> dict[str, Any]:
        """Return it for programs; the keys are stable."""
        return {
            "credit_id": self.credit_id,
            "amount": f"{self.amount:f}",
            "currency": self.currency,
            "again": self.again,
            "booked": self.booked,
        }


async def grant(
    desk: CostDesk,
    tenant: str,
    amount: Decimal,
    *,
    reason: str,
    actor: str,
    credit_id: str = "",
    wait_s: float = WAIT_S,
    poll_s: float = POLL_S,
) -> Credited:
    """Publish a credit unless it was published before, and wait up to `wait_s` seconds until it is booked.

    CreditDiffers where the id was given to another amount or reason.
    """
    currency = (await desk.usage(tenant)).currency
    id_ = credit_id or event_id(f"{tenant}/{amount.normalize():f}/{currency}/{reason}", "credit")
    before = await _granted_before(desk, tenant, id_)
    if before is not None:
        same = (Decimal(before.amount), before.currency, before.reason) == (amount, currency, reason)
        if not same:
            said = f"{before.amount} {before.currency}, {before.reason}"
            raise CreditDiffers(f"credit {id_} of {tenant} was granted with other words: {said}")
        at = datetime.fromisoformat(before.granted_at)  # it may have ended as a dead letter
        booked = await _is_booked(desk, tenant, amount, at, wait_s=wait_s, poll_s=poll_s)
        return Credited(id_, amount, currency, again=True, booked=booked)
    at = datetime.now(UTC)
    payload = CreditGranted(
        tenant=tenant,
        amount=f"{amount:f}",
        currency=currency,
        reason=reason,
        granted_by=actor,
        granted_at=at.isoformat(),
    )
    envelope = new_envelope(topics.CREDIT_GRANTED, id=id_, source=SOURCE, tenant=tenant, auth_id=actor)
    await desk.publish(Outgoing(topics.CREDIT_GRANTED, tenant, payload, envelope))
    booked = await _is_booked(desk, tenant, amount, at, wait_s=wait_s, poll_s=poll_s)
    return Credited(id_, amount, currency, again=False, booked=booked)


async def _granted_before(desk: CostDesk, tenant: str, credit_id: str) -> CreditGranted | None:
    async for event in desk.read([topics.CREDIT_GRANTED], Held(datetime.now(UTC))):
        if (event.envelope.tenant, event.envelope.id) == (tenant, credit_id):
            found: CreditGranted = event.payload
            return found
    return None


async def _is_booked(
    desk: CostDesk, tenant: str, amount: Decimal, at: datetime, *, wait_s: float, poll_s: float
) -> bool:
    """Tell whether the ledger has the credit that was granted at that very moment."""
    span = {"since": at.isoformat(), "until": (at + timedelta(microseconds=1)).isoformat()}

    async def has_it() -> bool:
        return Decimal((await desk.usage(tenant, **span)).credits or 0) >= amount

    return await ask_until(bool, has_it, wait_s=wait_s, poll_s=poll_s)
