"""A record carried on another topic with its own bytes, and beside them why: dead letters and retries are parcels.

The facts are headers with the parcel's prefix, after the original ones: `<prefix>_origin` is the first of them. What is
too large for the bus lies in the blob store: the value under `<prefix>_dataref`, the headers under
`<prefix>_headersref` (a JSON list of names and base64 values), the key under `<prefix>_keyref`; its sha256 is the
parcel's key then. Headers with a name that is not UTF-8 lie there too: aiokafka would not send them.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping

from headrace_errors import InvalidMessage

from headrace_messaging.codec import RECORD_BYTES_MAX, Blobs
from headrace_messaging.envelope import is_text, salvage_headers
from headrace_messaging.event import Received, Record

_HEADERS_BYTES_MAX = 64 * 1024
_HEADER_BYTES = 16  # what a header costs beside its name and value, at most: their lengths, and its number among nulls
_KEY_BYTES_MAX = 1024
_SCHEME = "sha256:"
_OWNER = ""  # a broken record may not say whose it is; only parcels are looked for there
RawHeaders = tuple[tuple[str, bytes | None], ...]


async def pack(received: Received, facts: Mapping[str, str], *, prefix: str, to: str, blobs: Blobs | None) -> Record:
    """Make the record that carries `received` to the topic `to`, with its origin and `facts` beside it."""
    apart = blobs is not None and _too_much(received.headers)
    written = {
        "origin": f"{received.topic}/{received.partition}/{received.offset}",
        "timestamp_ms": str(received.timestamp_ms),
        "nulls": _nulls(received, headers=not apart),
        **facts,
    }
    key, value = received.key or b"", received.value or b""
    original = tuple((_sendable(name), content or b"") for name, content in received.headers)
    if blobs is not None:
        if len(value) + 2 * _HEADERS_BYTES_MAX > RECORD_BYTES_MAX:
            written["dataref"], value = _SCHEME + await blobs.put(_OWNER, value), b""
        if apart:
            written["headersref"], original = _SCHEME + await blobs.put(_OWNER, _as_json(received.headers)), ()
        if len(key) > _KEY_BYTES_MAX:
            written["keyref"], key = _SCHEME + await blobs.put(_OWNER, key), order_key(key)
    added = tuple((f"{prefix}_{name}", text.encode()) for name, text in written.items() if text)
    return Record(to, key, value, original + added)


def order_key(key: bytes | None) -> bytes:
    """Return what orders a record, the same for a message and for a parcel that carries it; empty: nothing does."""
    if key is None or len(key) <= _KEY_BYTES_MAX:
        return key or b""
    return hashlib.sha256(key).hexdigest().encode()


def facts_of(headers: RawHeaders, *, prefix: str) -> dict[str, str]:
    """Return the facts of a parcel by their names without prefix; InvalidMessage when it is none."""
    return _facts(headers[_seam(headers, prefix) :], prefix)


def origin_of(facts: Mapping[str, str]) -> tuple[str, int, int]:
    """Return topic, partition and offset of a parcel's content; InvalidMessage when they cannot be read."""
    try:
        name, partition, offset = facts["origin"].rsplit("/", 2)
        return name, int(partition), int(offset)
    except (KeyError, ValueError):
        raise InvalidMessage("the origin of a carried record cannot be read", reason="origin_malformed") from None


async def unpack(parcel: Received, *, prefix: str, blobs: Blobs | None) -> Received:
    """Return the record that a parcel carries, as it was first received; InvalidMessage when it is no parcel.

    Unavailable when its bytes lie in a blob store that does not answer.
    """
    seam = _seam(parcel.headers, prefix)
    facts = _facts(parcel.headers[seam:], prefix)
    name, partition, offset = origin_of(facts)
    headers, key, value = parcel.headers[:seam], parcel.key or b"", parcel.value or b""
    if reference := facts.get("headersref"):
        headers = _from_json(await _fetch(reference, blobs))
    if reference := facts.get("dataref"):
        value = await _fetch(reference, blobs)
    if reference := facts.get("keyref"):
        key = await _fetch(reference, blobs)
    nulls = set(facts.get("nulls", "").split())
    return Received(
        name,
        partition,
        offset,
        int(facts.get("timestamp_ms") or parcel.timestamp_ms),
        None if "key" in nulls else key,
        None if "value" in nulls else value,
        tuple((name, None if str(at) in nulls else content) for at, (name, content) in enumerate(headers)),
    )


def _seam(headers: RawHeaders, prefix: str) -> int:
    # The last one: whatever a producer put among its own headers, ours come after them.
    for at in range(len(headers) - 1, -1, -1):
        if headers[at][0] == f"{prefix}_origin":
            return at
    raise InvalidMessage(f"the record has no {prefix}_origin", reason="origin_missing")


def _facts(headers: RawHeaders, prefix: str) -> dict[str, str]:
    return {name.removeprefix(f"{prefix}_"): text for name, text in salvage_headers(headers).items()}


def _too_much(headers: RawHeaders) -> bool:
    # Empty headers have a size too, by their number.
    size_bytes = sum(len(name) + len(content or b"") + _HEADER_BYTES for name, content in headers)
    return size_bytes > _HEADERS_BYTES_MAX or not all(is_text(name) for name, _ in headers)


def _sendable(name: str) -> str:
    return name if is_text(name) else name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _nulls(received: Received, *, headers: bool) -> str:
    absent = [name for name, content in (("key", received.key), ("value", received.value)) if content is None]
    named = received.headers if headers else ()
    return " ".join(absent + [str(at) for at, (_, content) in enumerate(named) if content is None])


async def _fetch(reference: str, blobs: Blobs | None) -> bytes:
    if blobs is None or not reference.startswith(_SCHEME):
        raise InvalidMessage("the parcel names no blob store known here", reason="claim_check_unknown")
    return await blobs.get(_OWNER, reference.removeprefix(_SCHEME))


def _as_json(headers: RawHeaders) -> bytes:
    # In ASCII: what is no text in a name is escaped, and comes back as it was.
    return json.dumps(
        [[name, None if content is None else base64.b64encode(content).decode()] for name, content in headers]
    ).encode()


def _from_json(content: bytes) -> RawHeaders:
    return tuple((name, None if value is None else base64.b64decode(value)) for name, value in json.loads(content))
