"""Facts as events on the bus.

Ids are made from the tenant, the request and the fact, never from a clock or a delivery: the same fact published again
is the same event.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from google.protobuf.message import Message
from headrace import topics
from headrace.audit.v1 import events_pb2 as audit_pb2
from headrace_messaging import Envelope, Outgoing, event_id
from headrace_telemetry import extract_context, inject_context, span, trace_id_of

from headrace_moderate import wire
from headrace_moderate.domain.facts import Admitted, Audited, Completed, Fact
from headrace_moderate.domain.requests import Request

SERVICE = "moderate"
SOURCE = f"/headrace/{SERVICE}"


def outgoing(fact: Fact) -> Outgoing:
    """Return the event that tells a fact."""
    match fact:
        case Admitted(request, admission):
            return _about(request, topics.QUERY_ADMITTED, wire.admitted(request, admission), "admitted")
        case Completed(request, outcome):
            return _about(request, topics.ANSWER_COMPLETED, wire.completed(request, outcome), "completed")
        case Audited():
            return _audit(fact)


def _about(request: Request, topic: str, payload: Message, stage: str) -> Outgoing:
    envelope = Envelope(
        id=event_id(_root(request.tenant, request.request_id), f"{SERVICE}.{stage}"),
        type=topic,
        source=SOURCE,
        time=request.decision.at if request.decision else request.registered_at,
        tenant=request.tenant,
        correlation_id=request.request_id,
        causation_id=request.event_id,
        conversation_id=request.conversation_id,
        deadline=None if request.decision else request.deadline,  # an outcome is never too late to be read
        priority=request.priority,
        auth_id=request.auth_id,
    )
    return Outgoing(topic, request.request_id, payload, envelope)


def _audit(fact: Audited) -> Outgoing:
    payload = audit_pb2.AuditSubmitted(
        action=fact.action,
        service=SERVICE,
        tenant=fact.tenant,
        principal=fact.principal,
        request_id=fact.request_id,
        disposition=fact.disposition,
        reason=fact.reason,
        facts={**fact.facts, **_dataref(fact)},
        decided_at=fact.decided_at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        model=fact.model,
        input_tokens=fact.input_tokens,
        output_tokens=fact.output_tokens,
        content_sha256=fact.content_sha256,
    )
    root = _root(fact.tenant, fact.request_id)
    envelope = Envelope(
        id=event_id(root, f"{SERVICE}.audit/{fact.action}/{fact.cause}"),
        type=topics.AUDIT_SUBMITTED,
        source=SOURCE,
        time=fact.decided_at,
        tenant=fact.tenant,
        correlation_id=fact.request_id,
    )
    return Outgoing(topics.AUDIT_SUBMITTED, fact.tenant, payload, envelope)


def _dataref(fact: Audited) -> dict[str, str]:
    """Say where the question lies that a record holds the hash of: in the admission of its request."""
    is_about_a_request = fact.content_sha256 and fact.action.startswith("request.")
    return {"dataref": f"moderate:requests/{fact.request_id}"} if is_about_a_request else {}


def _root(tenant: str, request_id: str) -> str:
    # Not the query's own event id: two tenants' producers may well choose the same one.
    return json.dumps([tenant, request_id])


@contextmanager
def in_trace_of(fact: Fact) -> Iterator[None]:
    """Put what is published into the trace of the request that it is about, whatever is being handled.

    A sweep has no trace of its own, and a request may be settled while another one's message is handled.
    """
    known = fact.traceparent if isinstance(fact, Audited) else fact.request.traceparent
    if not known or trace_id_of(known) == trace_id_of(inject_context().get("traceparent", "")):
        yield
        return
    with span("settle request", parent=extract_context({"traceparent": known})):
        yield
