"""Messages to the domain's values and back."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import cast, get_args

from headrace.audit.v1 import audit_service_pb2, events_pb2
from headrace_errors import InvalidMessage
from headrace_messaging import Event

from headrace_audit.configuration import DECLARED
from headrace_audit.domain import Decision, Disposition, Link
from headrace_audit.reports import ChainReport

_SHA256 = re.compile("[0-9a-f]{64}")
_DISPOSITIONS: tuple[str, ...] = get_args(Disposition)


def decision_of(event: Event[events_pb2.AuditSubmitted]) -> Decision:
    """Read a decision; InvalidMessage names what is wrong."""
    message = event.payload
    if not message.action or not message.service:
        raise InvalidMessage("action and service are needed")
    if message.disposition not in _DISPOSITIONS:
        raise InvalidMessage(f"disposition is one of {', '.join(_DISPOSITIONS)}, not {message.disposition!r}")
    if message.action == DECLARED and not (message.facts.get("part") and _SHA256.fullmatch(message.content_sha256)):
        raise InvalidMessage(f"{DECLARED} needs the fact `part` and a sha256")
    return Decision(
        record_id=event.envelope.id,
        action=message.action,
        service=message.service,
        disposition=cast("Disposition", message.disposition),
        decided_at=_moment(message.decided_at),
        tenant=message.tenant or event.envelope.tenant,
        principal=message.principal,
        request_id=message.request_id,
        reason=message.reason,
        model=message.model,
        input_tokens=message.input_tokens,
        output_tokens=message.output_tokens,
        content_sha256=message.content_sha256,
        facts=dict(message.facts),
    )


def message_of(link: Link) -> events_pb2.AuditRecorded:
    """Return a link as a message."""
    return events_pb2.AuditRecorded(
        chain=link.chain,
        sequence=link.sequence,
        record_id=link.record_id,
        previous_fingerprint=link.previous_fingerprint,
        fingerprint=link.fingerprint,
        record_json=link.record_json,
    )


def state_of(chain: ChainReport) -> audit_service_pb2.ChainState:
    """Return a chain's state as a message."""
    return audit_service_pb2.ChainState(
        chain=chain.chain,
        length=chain.length,
        head_fingerprint=chain.head_fingerprint,
        verified=chain.verified,
        broken_at=chain.broken_at,
    )


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise InvalidMessage("decided_at has no offset from UTC")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):  # in UTC, the first day of year 1 may lie before it
        raise InvalidMessage("decided_at is not an RFC 3339 time") from None
