"""Attempts of which nobody knows what they used: the list of them, and what people say of one of them in the end."""

from __future__ import annotations

from headrace.meter.v1 import meter_service_pb2 as pb
from headrace.usage.v1 import usage_pb2
from headrace.usage.v1.correction_pb2 import UsageCorrected
from headrace_errors import InvalidMessage

from headrace_meter.domain import Correction, Usage
from headrace_meter.entrypoints.translation import CORRECTED, moment_of, usage_of
from headrace_meter.money import text_of
from headrace_meter.ports import Unknown
from headrace_meter.questions import UnknownUsages


def correction_of(message: UsageCorrected, *, usage_id: str, tenant: str) -> tuple[Usage, Correction]:
    """Read a correction for `tenant`, who is known from outside the message; InvalidMessage names what is wrong."""
    for name in ("reason", "corrected_by"):
        if not getattr(message, name):
            raise InvalidMessage(f"{name} is missing")
    if message.usage.estimated:
        raise InvalidMessage("what people correct is not estimated")
    usage = usage_of(message.usage, usage_id=usage_id, tenant=tenant, statuses=(CORRECTED,))
    at = moment_of(message.corrected_at, "corrected_at")
    return usage, Correction(reason=message.reason, corrected_by=message.corrected_by, corrected_at=at)


def unknown_response(found: UnknownUsages, *, currency: str) -> pb.ListUnknownResponse:
    """Write the list: each usage as it was told."""
    return pb.ListUnknownResponse(usages=[_unknown(one) for one in found.usages], more=found.more, currency=currency)


def _unknown(one: Unknown) -> pb.UnknownUsage:
    return pb.UnknownUsage(
        usage_id=one.usage.usage_id,
        usage=message_of(one.usage),
        cost=text_of(one.cost_picos),
        reserved=text_of(one.reserved_picos),
    )


def message_of(usage: Usage) -> usage_pb2.UsageRecorded:
    """Write a usage as its event told it."""
    return usage_pb2.UsageRecorded(
        attempt_id=usage.attempt_id,
        request_id=usage.request_id,
        tenant=usage.tenant,
        feature=usage.feature,
        operation=usage.operation,
        model=usage.model,
        provider=usage.provider,
        status=usage.status,
        quantities=[usage_pb2.Quantity(meter=meter, quantity=count) for meter, count in usage.quantities.items()],
        started_at=usage.started_at.isoformat(),
        ended_at=usage.ended_at.isoformat(),
        estimated=usage.estimated,
        reservation_id=usage.reservation_id,
        document=usage.document,
        attempt=usage.attempt,
        principal=usage.principal,
    )
