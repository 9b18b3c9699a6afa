"""Hash chains: what a link is, what it proves, and how the next one is made.

A chain is the record of one partition of the topic of submitted decisions. Every link's fingerprint covers the one
before and the canonical bytes of its own record, and the record names its chain and its sequence: so no record can be
changed, moved, dropped or put between others without breaking every fingerprint after it. What a record says is the
business of `ocsf`; who signs a chain, of `checkpoints`; where chains are kept, of the adapters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from headrace_errors import Unavailable

from headrace_audit.canonical import canonical, read_canonical

GENESIS = "0" * 64  # what the first link of a chain follows

Disposition = Literal["allowed", "blocked", "observed"]


class ChainMoved(Unavailable):
    """Another writer appended in between: the head is not the one that the link was made for."""

    default_reason = "chain_moved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a service decided. `record_id` is the event's id and its identity; empty strings mean none."""

    record_id: str
    action: str
    service: str
    disposition: Disposition
    decided_at: datetime
    tenant: str = ""
    principal: str = ""
    request_id: str = ""
    reason: str = ""
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    content_sha256: str = ""
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain: its last sequence and that link's fingerprint in hexadecimal."""

    chain: str
    sequence: int = 0
    fingerprint: str = GENESIS


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One record in its place. `tenant` and `request_id` repeat what the record says, so that it can be found."""

    chain: str
    sequence: int
    record_id: str
    tenant: str
    request_id: str
    previous_fingerprint: str
    fingerprint: str
    record_json: str

    @property
    def head(self) -> Head:
        """The end of the chain once this link is in it."""
        return Head(self.chain, self.sequence, self.fingerprint)


def chain_of(partition: int) -> str:
    """Name the chain of a partition."""
    return f"audit-{partition}"


def fingerprint(previous: str, canonical_bytes: bytes) -> str:
    """Return sha256(previous fingerprint as 32 bytes, then the canonical bytes) in hexadecimal."""
    return hashlib.sha256(bytes.fromhex(previous) + canonical_bytes).hexdigest()


def next_link(head: Head, record: Mapping[str, Any]) -> Link:
    """Make the link that follows `head`; the record's own metadata must name that place."""
    metadata = record["metadata"]
    place = (head.chain, head.sequence + 1)
    if (metadata["log_name"], metadata["sequence"]) != place:
        raise ValueError(f"the record was written for another place than {place[0]} {place[1]}")
    content = canonical(record)
    return Link(
        chain=head.chain,
        sequence=head.sequence + 1,
        record_id=metadata["uid"],
        tenant=metadata.get("tenant_uid", ""),
        request_id=metadata.get("correlation_uid", ""),
        previous_fingerprint=head.fingerprint,
        fingerprint=fingerprint(head.fingerprint, content),
        record_json=content.decode(),
    )


def flaw_of(link: Link, previous: str) -> str:
    """Say what is wrong with a link that should follow the fingerprint `previous`; empty when nothing is."""
    if link.previous_fingerprint != previous:
        return "does not follow the link before"
    if link.fingerprint != fingerprint(previous, stored_bytes(link.record_json)):
        return "the fingerprint does not cover the record"
    metadata = metadata_of(link.record_json)
    if metadata is None:
        return "the record is not canonical JSON"
    said = (metadata.get("log_name"), metadata.get("sequence"), metadata.get("uid"))
    if said != (link.chain, link.sequence, link.record_id):
        return "the record was written for another place"
    if (metadata.get("tenant_uid", ""), metadata.get("correlation_uid", "")) != (link.tenant, link.request_id):
        return "the index does not say what the record says"
    return ""


def stored_bytes(record_json: str) -> bytes:
    """Return the bytes that a record was read from, whether they are UTF-8 or not."""
    try:
        return record_json.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # an escaped surrogate of somebody's JSON: no bytes that anybody signed
        return record_json.encode("utf-8", "surrogatepass")


@lru_cache(maxsize=1)  # whoever reads a link from an export asks, and then its verifier: a third of all work
def metadata_of(record_json: str) -> Mapping[str, Any] | None:
    """Return the metadata of a canonical record; None when it is not canonical JSON or has none."""
    try:
        metadata = read_canonical(record_json)["metadata"]
    except (ValueError, KeyError, TypeError, RecursionError):  # a UnicodeError is a ValueError
        return None
    return metadata if isinstance(metadata, dict) else None
