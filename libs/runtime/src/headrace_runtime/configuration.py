"""What a service was started with, told to audit at every start, which records it where it changed.

It is told by hash: a configuration may name people and places. What lies where (buses, databases, folders, peers) is
no part of it, since that differs by replica and by start; what it means is the service's own.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from headrace import topics
from headrace.audit.v1.events_pb2 import AuditSubmitted
from headrace_errors import Unavailable
from headrace_messaging import Outgoing, Publisher, new_envelope
from headrace_telemetry import get_logger

from headrace_runtime.settings import ServiceSettings

DECLARED = "configuration.declared"
PLATFORM = "headrace"  # the key of what is no tenant's
RETRY_S = 5.0
_log = get_logger()


@dataclass(frozen=True, slots=True)
class Configured:
    """A part of a service's configuration: what was declared, and its version where whoever declared it names one."""

    part: str
    content: bytes
    version: str = ""


def own_settings(settings: ServiceSettings) -> Configured:
    """Return the settings that only this service has, in one order; secrets are masked in them."""
    shared = set(ServiceSettings.model_fields)
    own = settings.model_dump(mode="json", exclude=shared)
    return Configured("settings", json.dumps(own, sort_keys=True).encode())


async def declare(service: str, parts: Sequence[Configured], publisher: Publisher) -> None:
    """Tell audit what this service was started with, once the bus takes it; never returns."""
    told = [_event(service, part) for part in parts]
    while True:
        try:
            await publisher.publish(*told)
            break
        except Unavailable as error:
            _log.warning("configuration.waiting", reason=error.reason, detail=error.detail)
            await asyncio.sleep(RETRY_S)
    await asyncio.Event().wait()


def _event(service: str, configured: Configured) -> Outgoing:
    now = datetime.now(UTC)
    payload = AuditSubmitted(
        action=DECLARED,
        service=service,
        disposition="observed",
        decided_at=now.isoformat(),
        content_sha256=hashlib.sha256(configured.content).hexdigest(),
        facts={"part": configured.part} | ({"version": configured.version} if configured.version else {}),
    )
    envelope = new_envelope(topics.AUDIT_SUBMITTED, source=f"/headrace/{service}", time=now, subject=DECLARED)
    return Outgoing(topics.AUDIT_SUBMITTED, PLATFORM, payload, envelope)
