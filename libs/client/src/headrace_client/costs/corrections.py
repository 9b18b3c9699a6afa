"""Says what an attempt used indeed, where nobody else could tell: an event, told once, and booked by meter.

An attempt is corrected once: its event's id is derived from tenant, request and attempt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from headrace import topics
from headrace.meter.v1.meter_service_pb2 import UnknownUsage
from headrace.usage.v1.correction_pb2 import UsageCorrected
from headrace.usage.v1.usage_pb2 import Quantity, UsageRecorded
from headrace_errors import InvalidMessage, Refused
from headrace_messaging import Outgoing, event_id, new_envelope

from headrace_client.costs.desk import CostDesk
from headrace_client.costs.held import Held
from headrace_client.costs.patience import POLL_S, WAIT_S, ask_until

SOURCE = "/headrace/costs"
_STATUS = "corrected"


class NothingToCorrect(Refused):
    """No attempt of this name is open: it is known what it used, or nobody told of it."""

    default_reason = "nothing_to_correct"


class CorrectionDiffers(Refused):
    """The attempt was corrected before, with other quantities."""

    default_reason = "correction_differs"


@dataclass(frozen=True, slots=True)
class Corrected:
    """A correction under its id; `again` where it had been published before, `booked` once the attempt is open no more.

    `taken_back` is what was charged for the attempt until then, `freed` what was held for it.
    """

    correction_id: str
    request_id: str
    attempt_id: str
    quantities: Mapping[str, int]
    taken_back: Decimal
    freed: Decimal
    currency: str
    again: bool
    booked: bool

    def as_json(self) -> dict[str, Any]:
        """Return it for programs; the keys are stable."""
        return {
            "correction_id": self.correction_id,
            "request_id": self.request_id,
            "attempt_id": self.attempt_id,
            "quantities": dict(self.quantities),
            "taken_back": f"{self.taken_back:f}",
            "freed": f"{self.freed:f}",
            "currency": self.currency,
            "again": self.again,
            "booked": self.booked,
        }


async def correct(
    desk: CostDesk,
    tenant: str,
    request_id: str,
    attempt: str,
    quantities: Mapping[str, int],
    *,
    reason: str,
    actor: str,
    dry_run: bool = False,
    wait_s: float = WAIT_S,
    poll_s: float = POLL_S,
) -> Corrected:
    """Publish what an attempt (its id, or its number in the request) used, and wait `wait_s` s until it is booked.

    `dry_run` publishes nothing. NothingToCorrect; CorrectionDiffers where it was corrected otherwise; Refused
    (model_unpriced) for a meter without a price.
    """
    used = {meter: count for meter, count in quantities.items() if count}
    open_, currency = await find_unknown(desk, tenant, request_id, attempt)
    before = await _corrected_before(desk, tenant, request_id, open_[0].usage.attempt_id if open_ else attempt)
    if not open_ and before is None:
        raise NothingToCorrect(f"attempt {attempt} of request {request_id!r} of {tenant} is not open")
    told = before.usage if before else open_[0].usage
    _check_same(attempt, before, used)
    if used:
        await desk.price(tenant, told.model, used)  # what has no price would stay open
    id_ = correction_id(tenant, request_id, told.attempt_id)
    if before is None and not dry_run:
        await desk.publish(_event(id_, tenant, told, used, reason=reason, actor=actor))
        # Somebody else may have said something else meanwhile: what came first is booked.
        _check_same(attempt, await _corrected_before(desk, tenant, request_id, told.attempt_id), used)
    booked = not dry_run and await _is_booked(desk, tenant, request_id, told.attempt_id, wait_s=wait_s, poll_s=poll_s)
    return Corrected(
        correction_id=id_,
        request_id=request_id,
        attempt_id=told.attempt_id,
        quantities=used,
        taken_back=sum((Decimal(one.cost or 0) for one in open_), Decimal(0)),
        freed=max((Decimal(one.reserved or 0) for one in open_), default=Decimal(0)),
        currency=currency,
        again=before is not None,
        booked=booked,
    )


async def find_unknown(desk: CostDesk, tenant: str, request_id: str, attempt: str) -> tuple[list[UnknownUsage], str]:
    """Return the usages of an attempt that are open, the newest first, and the ledger's currency.

    InvalidMessage where a number names several, as that of an embedding and of an answer may.
    """
    found = await desk.unknown(tenant, request_id=request_id)
    named = [one for one in found.usages if one.usage.request_id == request_id and _is_named(one.usage, attempt)]
    if len({one.usage.attempt_id for one in named}) > 1:
        raise InvalidMessage(f"several attempts have the number {attempt}: name one by its id")
    return named, found.currency


def correction_id(tenant: str, request_id: str, attempt_id: str) -> str:
    """Derive the id of an attempt's correction: there is one."""
    return event_id(f"{tenant}/{request_id}/{attempt_id}", "correction")


def _event(id_: str, tenant: str, told: UsageRecorded, used: Mapping[str, int], *, reason: str, actor: str) -> Outgoing:
    usage = UsageRecorded()
    usage.CopyFrom(told)
    usage.ClearField("quantities")
    usage.quantities.extend(Quantity(meter=meter, quantity=count) for meter, count in used.items())
    usage.status, usage.estimated = _STATUS, False
    payload = UsageCorrected(usage=usage, reason=reason, corrected_by=actor, corrected_at=datetime.now(UTC).isoformat())
    envelope = new_envelope(
        topics.USAGE_CORRECTED,
        id=id_,
        source=SOURCE,
        tenant=tenant,
        correlation_id=usage.request_id,
        auth_id=actor,
    )
    return Outgoing(topics.USAGE_CORRECTED, tenant, payload, envelope)


async def _corrected_before(desk: CostDesk, tenant: str, request_id: str, attempt: str) -> UsageCorrected | None:
    """Return the attempt's correction, by its id, or by its number where it is open no more."""
    async for event in desk.read([topics.USAGE_CORRECTED], Held(datetime.now(UTC))):
        found: UsageCorrected = event.payload
        of_request = event.envelope.tenant == tenant and found.usage.request_id == request_id
        if of_request and _is_named(found.usage, attempt):
            return found
    return None


def _check_same(attempt: str, before: UsageCorrected | None, used: Mapping[str, int]) -> None:
    if before is not None and _used(before.usage) != used:
        said = ", ".join(f"{count} {meter}" for meter, count in _used(before.usage).items()) or "nothing"
        raise CorrectionDiffers(f"attempt {attempt} was corrected by {before.corrected_by} to {said}")


async def _is_booked(
    desk: CostDesk, tenant: str, request_id: str, attempt_id: str, *, wait_s: float, poll_s: float
) -> bool:
    async def is_open_no_more() -> bool:
        return not (await find_unknown(desk, tenant, request_id, attempt_id))[0]

    return await ask_until(bool, is_open_no_more, wait_s=wait_s, poll_s=poll_s)


def _is_named(usage: UsageRecorded, attempt: str) -> bool:
    return attempt in (usage.attempt_id, str(usage.attempt))


def _used(usage: UsageRecorded) -> Mapping[str, int]:
    return {one.meter: one.quantity for one in usage.quantities}
