"""A link as the event that copies it to the topic: the store is the record, the topic a copy."""

from __future__ import annotations

from headrace import topics
from headrace_messaging import Outgoing, event_id, new_envelope

from headrace_audit.domain import Link
from headrace_audit.translation import message_of


def announcement(link: Link) -> Outgoing:
    """Return the copy of a link; its id is derived from its place in the chain."""
    envelope = new_envelope(
        topics.AUDIT_RECORDED,
        source="/headrace/audit",
        id=event_id(f"{link.chain}/{link.fingerprint}", "audit.record", index=link.sequence),
        tenant=link.tenant,
        correlation_id=link.request_id or link.record_id,
    )
    return Outgoing(topics.AUDIT_RECORDED, link.chain, message_of(link), envelope)
