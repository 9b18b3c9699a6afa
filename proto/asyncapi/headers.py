"""The Kafka headers of an event as a JSON schema, taken from the envelope itself: CloudEvents 1.0, binary mode.

Which headers there are is read off an envelope that lacks nothing; only what they mean is said here, and a header that
is not explained stops the generator.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

from headrace_messaging import Envelope

_MEANING = {
    "ce_specversion": "The version of CloudEvents.",
    "ce_id": "The event's id; the same event has the same id at every delivery.",
    "ce_type": "The topic's full name.",
    "ce_source": "Who said it, for example `/headrace/moderate`.",
    "ce_time": "When it happened.",
    "ce_subject": "What it is about, where the key does not say.",
    "ce_tenant": "The tenant that it belongs to.",
    "ce_correlationid": "The request that it belongs to.",
    "ce_causationid": "The event that it follows from.",
    "ce_conversationid": "The conversation that the request belongs to.",
    "ce_deadline": "When an answer is of no more use: work past it is dropped before a model runs.",
    "ce_priority": "Higher goes first where work waits.",
    "ce_attempt": "Counts the deliveries of the same event, from 1.",
    "ce_idempotencykey": "Two requests of a tenant with the same key and body have one answer.",
    "ce_authtype": "The kind of principal that it acts for.",
    "ce_authid": "The principal that it acts for.",
    "ce_dataschema": "The full name of the payload's protobuf message.",
    "ce_dataclassification": "How the payload may be handled.",
    "ce_traceparent": "W3C trace context.",
    "ce_tracestate": "W3C trace context.",
    "ce_sequence": "Its number in the outbox that it came through: order of commit within a key; docs/delivery.md.",
}
_BY_CODEC: dict[str, Any] = {
    "content-type": {"type": "string", "description": "How the payload is encoded; without it, as the topic declares."},
    "ce_partitionkey": {"type": "string", "description": "The record's key."},
    "ce_dataref": {
        "type": "string",
        "pattern": "^sha256:[0-9a-f]{64}$",
        "description": "Claim check: the payload lies in the blob store under this digest, and the record has no body.",
    },
}
_REQUIRED = ["ce_id", "ce_source", "ce_specversion", "ce_type"]  # of every CloudEvent
_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def event_headers() -> dict[str, Any]:
    """Return the schema of the headers of an event that one of our services says."""
    return _headers(required=_REQUIRED)


def submission_headers() -> dict[str, Any]:
    """Return the schema of the headers of what applications send: what else they leave out is derived."""
    return _headers(required=["ce_tenant"])


def _headers(required: list[str]) -> dict[str, Any]:
    properties = _BY_CODEC | {name: _schema(name, value) for name, value in _every_header().items()}
    return {"type": "object", "properties": dict(sorted(properties.items())), "required": required}


def _every_header() -> dict[str, str]:
    """Return the headers of an envelope that lacks nothing, with the name of its type as each one's value."""
    everything: dict[str, Any] = {"str": "str", "int": 1, "datetime": _MOMENT, "datetime | None": _MOMENT}
    fields = dataclasses.fields(Envelope)
    return Envelope(**{field.name: everything[str(field.type)] for field in fields}).headers()


def _schema(name: str, example: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "description": _MEANING[name]}
    if name == "ce_specversion":
        return schema | {"const": example}
    if example == "1":
        return schema | {"pattern": "^[0-9]{1,9}$"}
    return schema if example == "str" else schema | {"format": "date-time"}
