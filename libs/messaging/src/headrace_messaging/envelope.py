"""The attributes of an event and their Kafka headers: CloudEvents 1.0, Kafka binding, binary mode.

Header values are decoded here, and strictly: a byte that is not UTF-8 makes the message invalid instead of breaking the
consumer. Payloads are codec.py's.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from headrace_errors import InvalidMessage

CONTENT_TYPE = "content-type"
DATAREF = "ce_dataref"
SEQUENCE = "ce_sequence"
Headers = tuple[tuple[str, bytes], ...]

# Attribute of Envelope -> header. What is empty is not written.
_TEXTS = {
    "id": "ce_id",
    "type": "ce_type",
    "source": "ce_source",
    "subject": "ce_subject",
    "tenant": "ce_tenant",
    "correlation_id": "ce_correlationid",
    "causation_id": "ce_causationid",
    "conversation_id": "ce_conversationid",
    "idempotency_key": "ce_idempotencykey",
    "auth_type": "ce_authtype",
    "auth_id": "ce_authid",
    "data_schema": "ce_dataschema",
    "data_classification": "ce_dataclassification",
    "traceparent": "ce_traceparent",
    "tracestate": "ce_tracestate",
    "sequence": SEQUENCE,
}
_MOMENTS = {"time": "ce_time", "deadline": "ce_deadline"}
_NUMBERS = {"priority": "ce_priority", "attempt": "ce_attempt"}
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")  # all of Unicode's category Cc
_REQUIRED = ("ce_id", "ce_source", "ce_type")
_DERIVED = {"id", "type", "source", "time"}
"""Attributes that every envelope has: where a record is silent they follow from its place."""
ATTRIBUTE_BYTES_MAX: Final = 1024
_TIMESTAMP_MS_MAX: Final = 253_402_214_400_000  # the last day of the year 9999, in any time zone
ID_BYTES_MAX: Final = 255
"""Attributes that name something are keys in databases and on the bus, and stay short."""
_IDS = frozenset(
    ("id", "tenant", "correlation_id", "causation_id", "conversation_id", "idempotency_key", "auth_type", "auth_id")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What is known of an event without its payload.

    `time` and `deadline` are aware datetimes; `attempt` counts from 1. `auth_id` is the principal the event acts for,
    `correlation_id` the request it belongs to, `causation_id` the event it follows from.
    """

    id: str
    type: str
    source: str
    time: datetime
    subject: str = ""
    tenant: str = ""
    correlation_id: str = ""
    causation_id: str = ""
    conversation_id: str = ""
    deadline: datetime | None = None
    priority: int = 0
    attempt: int = 1
    idempotency_key: str = ""
    auth_type: str = ""
    auth_id: str = ""
    data_schema: str = ""
    data_classification: str = ""
    traceparent: str = ""
    tracestate: str = ""
    sequence: str = ""

    def expired(self, now: datetime) -> bool:
        """Say whether the deadline has passed at `now`; without a deadline, never."""
        return self.deadline is not None and now >= self.deadline

    def headers(self) -> dict[str, str]:
        """Return the `ce_` headers; numbers and texts that say nothing are left out."""
        headers = {"ce_specversion": "1.0"}
        for name, header in _TEXTS.items():
            if text := getattr(self, name):
                headers[header] = text
        for name, header in _MOMENTS.items():
            if moment := getattr(self, name):
                headers[header] = rfc3339(moment)
        for name, header in _NUMBERS.items():
            headers[header] = str(getattr(self, name))
        return headers


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record lies and when it was appended: enough to name an event that does not name itself."""

    topic: str
    partition: int
    offset: int
    time: datetime
    generation: str = ""

    def event_id(self) -> str:
        """Derive the id of an event without one: the same record gives the same id at every delivery."""
        place = f"{self.generation}/{self.topic}/{self.partition}/{self.offset}"
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"headrace-record:{place}"))


def decode_headers(raw: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """Decode every header; InvalidMessage names the one that is not UTF-8 or comes twice."""
    headers: dict[str, str] = {}
    for name, value in raw:
        if not is_text(name):
            raise InvalidMessage(f"header name {name!r} is not UTF-8", reason="header_name_not_utf8")
        if name in headers:
            raise InvalidMessage(f"header {name!r} comes more than once", reason="header_repeated")
        try:
            headers[name] = (value or b"").decode()
        except UnicodeDecodeError:
            raise InvalidMessage(f"header {name!r} is not UTF-8", reason="header_not_utf8") from None
    return headers


@lru_cache(maxsize=1024)  # the same few names, in every message
def is_text(name: str) -> bool:
    """Say whether a header's name is UTF-8; where it is not, its bytes are kept as surrogate escapes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def salvage_headers(raw: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """Decode what can be decoded, the first of each name: for ending a request whose message is broken."""
    headers: dict[str, str] = {}
    for name, value in raw:
        try:
            headers.setdefault(name, (value or b"").decode())
        except UnicodeDecodeError:
            continue
    return headers


def read_envelope(headers: Mapping[str, str], origin: Origin, *, lenient: bool) -> Envelope:
    """Read the envelope; `lenient` derives what a stock producer leaves out (id, type, source).

    InvalidMessage for a required header that is missing, a text that is too long or no text, a malformed time or a
    malformed number.
    """
    fields = {name: value for name, value in _fields(headers, lenient=lenient).items() if value != ""}
    if _DERIVED - fields.keys():
        fields = _derived(origin) | fields
    return Envelope(**fields)


def require_readable(headers: Mapping[str, str], *, lenient: bool) -> None:
    """Raise InvalidMessage where `read_envelope` would: such a record must not be sent, for no reader takes it."""
    _fields(headers, lenient=lenient)


def _fields(headers: Mapping[str, str], *, lenient: bool) -> dict[str, Any]:
    missing = [name for name in _REQUIRED if not headers.get(name)]
    if missing and not lenient:
        raise InvalidMessage(f"headers missing: {', '.join(missing)}", reason="header_missing")
    fields: dict[str, Any] = {name: headers[header] for name, header in _TEXTS.items() if header in headers}
    for name, text in fields.items():
        if problem := _problem(name, text):
            raise InvalidMessage(f"{_TEXTS[name]} {problem}", reason="header_malformed")
    for name, header in _MOMENTS.items():
        if text := headers.get(header):
            fields[name] = _moment(header, text)
    for name, header in _NUMBERS.items():
        if text := headers.get(header):
            fields[name] = _number(header, text)
    return fields


def salvage_envelope(headers: Mapping[str, str], origin: Origin) -> Envelope:
    """Read what is readable: bad texts, times and numbers are dropped, missing attributes derived."""
    texts = {name: headers[header] for name, header in _TEXTS.items() if headers.get(header)}
    texts = {name: text for name, text in texts.items() if not _problem(name, text)}
    return Envelope(**(_derived(origin) | texts))


def moment_of(timestamp_ms: int) -> datetime:
    """Return a record's time. A producer may write any number: outside of the calendar it counts as the nearest day."""
    return datetime.fromtimestamp(min(max(timestamp_ms, 0), _TIMESTAMP_MS_MAX) / 1000, UTC)


def rfc3339(moment: datetime) -> str:
    """Write an aware datetime in UTC with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _derived(origin: Origin) -> dict[str, Any]:
    return {
        "id": origin.event_id(),
        "type": origin.topic,
        "source": f"/kafka/{origin.topic}",
        "time": origin.time,
    }


def id_problem(text: str) -> str:
    """Say why a text cannot name anything on the bus, as an id, a tenant or a principal; empty where it can."""
    return _text_problem(text, ID_BYTES_MAX)


def _problem(name: str, text: str) -> str:
    return _text_problem(text, ID_BYTES_MAX if name in _IDS else ATTRIBUTE_BYTES_MAX)


def _text_problem(text: str, bytes_max: int) -> str:
    """Say why a text cannot be an attribute, in the words of CloudEvents and within our limits; empty where it can."""
    if text.isascii() and text.isprintable() and len(text) <= bytes_max:
        return ""  # nearly every one
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError:
        return "holds half of a surrogate pair"
    if size_bytes > bytes_max:
        return f"is over {bytes_max} bytes"
    return "holds control characters" if _CONTROL.search(text) else ""


def _moment(header: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidMessage(f"{header} is not an RFC 3339 time", reason="header_malformed") from None
    if moment.tzinfo is None:
        raise InvalidMessage(f"{header} has no time zone", reason="header_malformed")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InvalidMessage(f"{header} lies outside of the calendar", reason="header_malformed") from None


def _number(header: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):  # noqa: PLR2004 - within 32 bits
        raise InvalidMessage(f"{header} is not a whole number below 10^9", reason="header_malformed")
    return int(text)
