"""How what a dead letter holds is published again: a question as a new request, any other event as it was.

A request has one outcome, and this one's is that it was dead-lettered: so it is asked anew, under an id of its own.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from headrace_errors import InvalidMessage
from headrace_messaging import Codec, Outgoing, Received, Record
from headrace_messaging.envelope import Headers, rfc3339, salvage_headers

SOURCE = "/headrace/dlq"
_OF_THE_FIRST = (
    *("ce_id", "ce_correlationid", "ce_causationid", "ce_deadline", "ce_idempotencykey", "ce_traceparent"),
    "ce_sequence",
)


async def as_new_request(question: Received, *, codec: Codec, new_id: str, deadline: datetime) -> Record:
    """Make of a question's record that of a new request with the same words, tenant and principal.

    Its cause is the first request. It has no idempotency key: that one's outcome is decided. What cannot be decoded
    keeps its bytes; its headers alone make it another request.
    """
    try:
        event = await codec.decode(question)
    except InvalidMessage:
        return _renamed(question, new_id, deadline)
    payload: Any = type(event.payload)()
    payload.CopyFrom(event.payload)
    envelope = replace(
        event.envelope,
        id=new_id,
        time=datetime.now(UTC),
        correlation_id=new_id,
        causation_id=request_id_of(event.payload, salvage_headers(question.headers), event.envelope.id),
        deadline=deadline,
        idempotency_key="",
        attempt=1,
        traceparent="",
        tracestate="",
        sequence="",
    )
    payload.request_id = new_id
    record = await codec.encode(Outgoing(question.topic, new_id, payload, envelope))
    known = {name for name, _ in record.headers}
    own = tuple((name, value or b"") for name, value in question.headers if _is_own(name) and name not in known)
    return replace(record, headers=record.headers + own)


def as_it_was(original: Received, *, now: datetime) -> Record:
    """Make an event's record again, byte for byte; a deadline that has passed is left out, or it would end at once."""
    headers = tuple(
        (name, value or b"") for name, value in original.headers if not (name == "ce_deadline" and _past(value, now))
    )
    return Record(original.topic, original.key or b"", original.value or b"", headers)


def request_id_of(payload: Any, headers: dict[str, str], event_id: str) -> str:
    """Return the request that a message belongs to: as its payload says, else its headers."""
    stated: str = getattr(payload, "request_id", "")
    return stated or headers.get("ce_correlationid") or headers.get("ce_id") or event_id


def _renamed(question: Received, new_id: str, deadline: datetime) -> Record:
    first = salvage_headers(question.headers)
    kept: Headers = tuple((name, value or b"") for name, value in question.headers if name not in _OF_THE_FIRST)
    added = {
        "ce_id": new_id,
        "ce_correlationid": new_id,
        "ce_causationid": first.get("ce_correlationid") or first.get("ce_id", ""),
        "ce_deadline": rfc3339(deadline),
    }
    headers = kept + tuple((name, text.encode()) for name, text in added.items() if text)
    return Record(question.topic, new_id.encode(), question.value or b"", headers)


def _is_own(name: str) -> bool:
    return not name.startswith("ce_") and name != "content-type"


def _past(value: bytes | None, now: datetime) -> bool:
    try:
        return datetime.fromisoformat((value or b"").decode()) <= now
    except (ValueError, TypeError):  # unreadable, or without a time zone: as it was
        return False
