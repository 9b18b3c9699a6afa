"""Erasing what the audit record refers to: its services erase what they keep, and record that they did."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from headrace_audit.references import Erasable
from headrace_client import Client
from headrace_errors import Refused

from headrace_cli.auditing import AuditPlace


@dataclass(frozen=True, slots=True)
class Erased:
    """What became of one request or document: erased, or refused with the reason."""

    kind: str
    name: str
    refused: str = ""
    content_sha256: Sequence[str] = field(default_factory=tuple)

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return asdict(self)


async def erasable(place: AuditPlace, tenant: str) -> Erasable:
    """Return what a tenant's record refers to, has ended or was deleted, and is not erased yet."""
    return await place.walk(lambda _contents: Erasable(tenant))


async def erase(client: Client, *, requests: Sequence[str], documents: Sequence[str]) -> list[Erased]:
    """Erase one after the other; what is refused does not stop the rest."""
    ended = [await _settled("request", name, client.erase_request(name)) for name in requests]
    return ended + [await _settled("document", name, client.erase_document(name)) for name in documents]


async def _settled(kind: str, name: str, work: Awaitable[Sequence[str] | None]) -> Erased:
    try:
        return Erased(kind, name, content_sha256=await work or ())
    except Refused as error:
        return Erased(kind, name, refused=error.reason)
