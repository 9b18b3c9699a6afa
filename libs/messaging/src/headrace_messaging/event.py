"""Events as handlers see them: typed, with their envelope, and without anything of Kafka's client."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Generic, Literal, TypeVar

from google.protobuf.message import Message

from headrace_messaging.clock import BrokerClock
from headrace_messaging.envelope import Envelope, Headers

M_co = TypeVar("M_co", bound=Message, covariant=True)


@dataclass(frozen=True, slots=True)
class Bus:
    """Which bus to talk to, and its brokers' clock.

    `generation` names one life of an embedded bus; it is empty on a real Kafka.
    """

    bootstrap: str
    generation: str = ""
    embedded: bool = False
    clock: BrokerClock = field(default_factory=BrokerClock, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Event(Generic[M_co]):
    """One delivered event; every offset of its partition before `watermark` is done.

    `readable` is False only where a broken message is being ended: the payload is then empty, and the envelope holds
    what could be salvaged.
    """

    envelope: Envelope
    payload: M_co
    topic: str
    key: str
    partition: int
    offset: int
    received_at: datetime
    watermark: int = 0
    readable: bool = True


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One event to publish. `key` orders it among its topic; empty means no order."""

    topic: str
    key: str
    payload: Message
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Record:
    """An encoded event: exactly the bytes that go to the bus."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers

    @property
    def size_bytes(self) -> int:
        """Bytes of key, value and headers; the bus adds some dozen of its own."""
        return len(self.key) + len(self.value) + sum(len(name) + len(value) for name, value in self.headers)


@dataclass(frozen=True, slots=True)
class Received:
    """A record as the bus delivered it, not yet understood."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a message ended without its handler's result: the outcome that its request or document gets.

    `reason` is a stable code; `detail` is for people and holds no content.
    """

    outcome: Literal["refused", "expired", "failed"]
    reason: str
    detail: str


def event_id(parent_id: str, stage: str, version: int = 1, index: int = 0) -> str:
    """Derive an event's id from its parent's: a redelivery of the parent makes the same one."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"headrace-event:{parent_id}/{stage}/{version}/{index}"))


def new_envelope(  # one keyword per attribute, so that a misspelt one is an error
    topic: str,
    *,
    source: str,
    id: str | None = None,  # noqa: A002 - the attribute's name in CloudEvents
    time: datetime | None = None,
    tenant: str = "",
    correlation_id: str = "",
    conversation_id: str = "",
    deadline: datetime | None = None,
    priority: int = 0,
    idempotency_key: str = "",
    auth_type: str = "",
    auth_id: str = "",
    subject: str = "",
) -> Envelope:
    """Make the envelope of a first event, one that follows from no other; the id is random unless given."""
    return Envelope(
        id=id or str(uuid.uuid4()),
        type=topic,
        source=source,
        time=time or datetime.now(UTC),
        tenant=tenant,
        correlation_id=correlation_id,
        conversation_id=conversation_id,
        deadline=deadline,
        priority=priority,
        idempotency_key=idempotency_key,
        auth_type=auth_type,
        auth_id=auth_id,
        subject=subject,
    )


def follow(
    parent: Event[Message],
    topic: str,
    payload: Message,
    *,
    stage: str,
    version: int = 1,
    index: int = 0,
    key: str | None = None,
    tenant: str | None = None,
    time: datetime | None = None,
) -> Outgoing:
    """Make an event that follows from `parent`: an id derived from it, and its request, tenant, deadline and principal.

    Two tenants may choose the same id for a first event, so the parent's tenant is part of what the id is derived from.
    `stage` names the step that makes it, `version` the step's version (raise it when its result changes), `index` tells
    several results apart. `time` is now unless given.
    """
    known = parent.envelope
    envelope = replace(
        known,
        id=event_id(f"{known.tenant}/{known.id}", stage, version, index),
        type=topic,
        source=f"/headrace/{stage}",
        time=time or datetime.now(UTC),
        subject="",
        tenant=known.tenant if tenant is None else tenant,
        correlation_id=known.correlation_id or known.id,
        causation_id=known.id,
        attempt=1,
        idempotency_key="",
        data_schema="",
        traceparent="",
        tracestate="",
        sequence="",
    )
    return Outgoing(topic, parent.key if key is None else key, payload, envelope)
