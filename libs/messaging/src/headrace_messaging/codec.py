"""Events to bytes and back: protobuf or proto3 JSON by content type, large payloads by claim check.

The claim check is invisible to handlers: what is too large for the bus lies in the blob store under its sha256, and the
record carries the reference.
"""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from typing import Final, Protocol

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from headrace.topics import Topic, topic
from headrace_errors import InvalidMessage
from headrace_telemetry import inject_context

from headrace_messaging.envelope import (
    CONTENT_TYPE,
    DATAREF,
    Envelope,
    Origin,
    decode_headers,
    is_text,
    moment_of,
    read_envelope,
    require_readable,
    salvage_envelope,
    salvage_headers,
)
from headrace_messaging.event import Bus, Event, Outgoing, Received, Record
from headrace_messaging.plain_json import fields_of, parse
from headrace_messaging.structured import CONTENT_TYPE_STRUCTURED, unfold

CLAIM_CHECK_BYTES: Final = 256 * 1024
CLAIM_CHECK_EMBEDDED_BYTES: Final = 4 * 1024  # the embedded bus keeps 5 MiB a partition
PAYLOAD_BYTES_MAX: Final = 64 * 1024 * 1024
RECORD_BYTES_MAX: Final = 1024 * 1024
_DATAREF_SCHEME = "sha256:"
_JSON, _PROTOBUF = "application/json", "application/protobuf"
_ENCODINGS = {_JSON: "json", _PROTOBUF: "protobuf", "application/x-protobuf": "protobuf"}


class Blobs(Protocol):
    """Where large payloads lie, apart by tenant; an empty tenant is the platform itself."""

    async def put(self, tenant: str, content: bytes) -> str:
        """Store `content`; return its sha256 in hexadecimal."""
        ...

    async def get(self, tenant: str, sha256: str) -> bytes:
        """Return the bytes, verified against their address; a HeadraceError where that cannot be."""
        ...


class Codec:
    """Encodes and decodes the events of one bus. `blobs` may be None where nothing large is ever sent or read."""

    def __init__(self, bus: Bus, blobs: Blobs | None) -> None:
        self.bus = bus
        self.blobs = blobs
        self._claim_check_bytes = CLAIM_CHECK_EMBEDDED_BYTES if bus.embedded else CLAIM_CHECK_BYTES

    async def encode(self, outgoing: Outgoing) -> Record:
        """Encode an event for its topic, with the current trace context unless its envelope has one.

        KeyError for an undeclared topic, TypeError for another topic's message, InvalidMessage for what is too large,
        and for attributes that no reader would take.
        """
        declared = topic(outgoing.topic)
        if not isinstance(outgoing.payload, declared.message):
            raise TypeError(
                f"{outgoing.topic} carries {declared.message.__name__}, not {type(outgoing.payload).__name__}"
            )
        headers = outgoing.envelope.headers()
        if "ce_traceparent" not in headers:
            headers |= {f"ce_{name}": value for name, value in inject_context().items()}
        headers.setdefault("ce_dataschema", declared.message.DESCRIPTOR.full_name)
        headers[CONTENT_TYPE] = _JSON if declared.encoding == "json" else _PROTOBUF
        if outgoing.key:
            headers["ce_partitionkey"] = outgoing.key
        require_readable(headers, lenient=declared.encoding == "json")
        value = await self._check_in(_dump(outgoing.payload, declared), declared, headers, outgoing.envelope.tenant)
        raw = tuple((name, text.encode()) for name, text in headers.items())
        return require_sendable(Record(outgoing.topic, outgoing.key.encode(), value, raw))

    async def decode(self, received: Received, *, watermark: int = 0) -> Event[Message]:
        """Decode a record of a declared topic; InvalidMessage says what cannot be read, and never its content."""
        declared = topic(received.topic)
        headers, value = decode_headers(received.headers), received.value
        if value is not None and _media_type(headers) == CONTENT_TYPE_STRUCTURED:
            headers, value = unfold(value, headers)
        envelope = read_envelope(headers, self._origin(received), lenient=declared.encoding == "json")
        payload = _parse(await self._check_out(value, headers, envelope.tenant), headers, declared)
        return _event(received, envelope, payload, watermark, key=_decode_key(received.key))

    def salvage(self, received: Received) -> Event[Message]:
        """Make the event by which a broken message's request or document can be ended: as much as is readable."""
        headers = salvage_headers(received.headers)
        if _media_type(headers) == CONTENT_TYPE_STRUCTURED:
            # Where that fails too, what the record's own headers say is all there is.
            with contextlib.suppress(InvalidMessage):
                headers, _ = unfold(received.value or b"", headers)
        envelope = salvage_envelope(headers, self._origin(received))
        key = (received.key or b"").decode(errors="replace")
        return _event(received, envelope, topic(received.topic).message(), 0, key=key, readable=False)

    async def _check_in(self, value: bytes, declared: Topic, headers: dict[str, str], tenant: str) -> bytes:
        if len(value) > PAYLOAD_BYTES_MAX:
            raise InvalidMessage(
                f"a payload of {len(value)} bytes is over {PAYLOAD_BYTES_MAX}", reason="payload_too_large"
            )
        if not declared.claim_check or len(value) <= self._claim_check_bytes or self.blobs is None:
            return value
        headers[DATAREF] = _DATAREF_SCHEME + await self.blobs.put(tenant, value)
        return b""

    async def _check_out(self, value: bytes | None, headers: dict[str, str], tenant: str) -> bytes:
        reference = headers.get(DATAREF)
        if reference is None:
            if value is None:
                raise InvalidMessage("the message has no body", reason="body_missing")
            return value
        if not reference.startswith(_DATAREF_SCHEME) or self.blobs is None:
            raise InvalidMessage("the claim check names no blob store known here", reason="claim_check_unknown")
        return await self.blobs.get(tenant, reference.removeprefix(_DATAREF_SCHEME))

    def _origin(self, received: Received) -> Origin:
        appended = moment_of(received.timestamp_ms)
        return Origin(received.topic, received.partition, received.offset, appended, self.bus.generation)


def require_sendable(record: Record) -> Record:
    """Return the record, or raise InvalidMessage when the bus would refuse its size, or its client a header's name."""
    if not all(is_text(name) for name, _ in record.headers):
        detail = f"a record for {record.topic} has a header whose name is not UTF-8"
        raise InvalidMessage(detail, reason="header_name_not_utf8")
    if record.size_bytes > RECORD_BYTES_MAX:
        detail = f"a record of {record.size_bytes} bytes for {record.topic} is over {RECORD_BYTES_MAX}"
        raise InvalidMessage(detail, reason="record_too_large")
    return record


def _event(
    received: Received, envelope: Envelope, payload: Message, watermark: int, *, key: str, readable: bool = True
) -> Event[Message]:
    return Event(
        envelope=envelope,
        payload=payload,
        topic=received.topic,
        key=key,
        partition=received.partition,
        offset=received.offset,
        received_at=datetime.now(UTC),
        watermark=watermark,
        readable=readable,
    )


def _media_type(headers: dict[str, str]) -> str:
    return headers.get(CONTENT_TYPE, "").partition(";")[0].strip().lower()


def _decode_key(key: bytes | None) -> str:
    try:
        return (key or b"").decode()
    except UnicodeDecodeError:
        raise InvalidMessage("the key is not UTF-8", reason="key_not_utf8") from None


def _dump(payload: Message, declared: Topic) -> bytes:
    if declared.encoding == "protobuf":
        return payload.SerializeToString(deterministic=True)
    # Public readers find every key, whatever its value.
    fields = fields_of(payload, declared_names=declared.json_names == "proto")
    # Sorted: protobuf maps come in another order in every process, and the same event must give the same bytes.
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def _parse(value: bytes, headers: dict[str, str], declared: Topic) -> Message:
    media_type = _media_type(headers)
    encoding = _ENCODINGS.get(media_type) if media_type else declared.encoding
    if encoding is None:
        raise InvalidMessage("the content type is neither JSON nor protobuf", reason="content_type_unknown")
    try:
        if encoding == "json":
            # Unknown fields are a newer producer's: ignored here as protobuf ignores them.
            return parse(value.decode(), declared.message)
        message = declared.message()
        message.ParseFromString(value)
    except (json_format.ParseError, DecodeError, UnicodeDecodeError, ValueError, RecursionError):
        raise InvalidMessage(f"the body is not a {declared.message.__name__}", reason="body_malformed") from None
    return message
