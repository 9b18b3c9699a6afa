"""Dead letters: the original bytes and headers, and beside them why and where they failed.

They lie on `<topic>.<group>.dlq` under the original key. Listing and replaying them is the command's.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime

from headrace.topics import topic
from headrace_errors import HeadraceError

from headrace_messaging.codec import RECORD_BYTES_MAX, Blobs
from headrace_messaging.envelope import Headers, rfc3339
from headrace_messaging.event import Received, Record

_DETAIL_CHARACTERS_MAX = 500
_HEADERS_BYTES_MAX = 64 * 1024
_KEY_BYTES_MAX = 1024


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a message was given up. A bug's detail is its class: an exception's text may hold content."""

    error_class: str
    reason: str
    detail: str

    @classmethod
    def of(cls, error: BaseException) -> Cause:
        """Describe an error: ours by reason and detail, anything else by its class alone."""
        if isinstance(error, HeadraceError):
            return cls(type(error).__name__, error.reason, error.detail[:_DETAIL_CHARACTERS_MAX])
        return cls(type(error).__name__, "bug", type(error).__name__)


async def dead_letter(
    received: Received,
    cause: Cause,
    *,
    group: str,
    event_id: str,
    attempts: int,
    code_version: str,
    blobs: Blobs | None,
) -> Record:
    """Make the dead letter of a record.

    What is too large for the bus is kept as a blob: the value under `dlq_dataref`, the headers under `dlq_headersref`
    (a JSON list of names and base64 values), the key under `dlq_keyref`; its sha256 is the dead letter's key then.
    """
    facts = {
        "dlq_origin": f"{received.topic}/{received.partition}/{received.offset}",
        "dlq_group": group,
        "dlq_event_id": event_id,
        "dlq_error_class": cause.error_class,
        "dlq_reason": cause.reason,
        "dlq_detail": cause.detail,
        "dlq_attempts": str(attempts),
        "dlq_code_version": code_version,
        "dlq_time": rfc3339(datetime.now(UTC)),
    }
    key, value = received.key or b"", received.value or b""
    original = tuple((name, content or b"") for name, content in received.headers)
    if blobs is not None:
        if len(value) + 2 * _HEADERS_BYTES_MAX > RECORD_BYTES_MAX:
            facts["dlq_dataref"], value = f"sha256:{await blobs.put(value)}", b""
        if sum(len(name) + len(content) for name, content in original) > _HEADERS_BYTES_MAX:
            facts["dlq_headersref"], original = f"sha256:{await blobs.put(_as_json(original))}", ()
        if len(key) > _KEY_BYTES_MAX:
            address = await blobs.put(key)
            facts["dlq_keyref"], key = f"sha256:{address}", address.encode()
    added = tuple((name, text.encode()) for name, text in facts.items())
    return Record(topic(received.topic).dead_letters(group), key, value, original + added)


def _as_json(headers: Headers) -> bytes:
    return json.dumps([[name, base64.b64encode(content).decode()] for name, content in headers]).encode()
