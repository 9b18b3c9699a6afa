"""How fast an auditor verifies: an export of audit's chains by the public key alone, as `audit verify --from` does."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.ledger.agenda import Verifying
from headrace.audit.v1.events_pb2 import AuditSubmitted
from headrace_audit.adapters.memory import MemoryRecord
from headrace_audit.checkpoints import Seal
from headrace_audit.domain import chain_of
from headrace_audit.exporting import Export
from headrace_audit.handlers import record_decisions
from headrace_audit.notes import SigningKey
from headrace_audit.settings import Settings
from headrace_audit.translation import decision_of
from headrace_audit.verify import verify_export
from headrace_messaging import Envelope, Event

_CHAINS = 4
_TOGETHER = 100
"""Decisions of one partition that are recorded in one transaction."""
_KEY = SigningKey(hashlib.sha256(b"the ledger's benchmark").digest())
_NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def verify_for(case: Verifying, folder: Path) -> tuple[float, float]:
    """Record and export a case's decisions; return the links verified in a second, and those merely read.

    Reading is the lower limit in the same process: every line as JSON, and SHA-256 of its record.
    """
    path = folder / f"audit-{case.links}.jsonl"
    asyncio.run(_export(case.links, path))
    began = time.perf_counter()
    report = verify_export(path, [_KEY.verifier])
    verified_s = time.perf_counter() - began
    if not report.verified or report.links != case.links:
        raise RuntimeError(f"an untouched export of {case.links} links did not verify: {report}")
    began = time.perf_counter()
    with path.open(encoding="utf-8") as lines:
        next(lines)
        for line in lines:
            hashlib.sha256(json.loads(line)["record_json"].encode()).digest()
    return case.links / verified_s, case.links / (time.perf_counter() - began)


async def _export(links: int, path: Path) -> None:
    record = MemoryRecord()
    seal = Seal(_KEY, links_max=Settings.model_fields["checkpoint_links_max"].default)
    for begin in range(0, links, _TOGETHER):
        partition = begin // _TOGETHER % _CHAINS
        events = [_event(number, partition) for number in range(begin, min(begin + _TOGETHER, links))]
        await record_decisions(
            [decision_of(event) for event in events],
            chain=chain_of(partition),
            delivery=record.delivery(chain_of(partition), events),
            seal=seal,
            clock=lambda: _NOON,
        )
    with path.open("w", encoding="utf-8") as out:
        Export(record.contents, out, key=_KEY, made_at=_NOON).add(record.ordered())


def _event(number: int, partition: int) -> Event[AuditSubmitted]:
    payload = AuditSubmitted(
        action="provider.called",
        service="generate",
        tenant="acme",
        request_id=f"request-{number}",
        disposition="allowed",
        decided_at="2026-11-21T11:59:59Z",
        facts={"model": "smollm2-135m", "attempt": "1", "input_tokens": "500", "output_tokens": "100"},
    )
    envelope = Envelope(id=f"event-{number}", type="audit", source="/bench", time=_NOON, tenant="acme")
    return Event(envelope, payload, "audit", "acme", partition, number, _NOON)
