"""How quickly a record is verified, by what an auditor runs: written as audit writes it, then judged where it lies.

Signatures are checked, each chain is followed from its first link, and a record that does not verify has no figure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from bench.ledger.databases import GENERATION, open_database
from headrace.audit.v1.events_pb2 import AuditSubmitted
from headrace.topics import AUDIT_SUBMITTED
from headrace_audit.adapters.announcements import announcement
from headrace_audit.adapters.sql import SqlRecord
from headrace_audit.adapters.tables import INBOX, METADATA
from headrace_audit.adapters.walk_tables import SCHEMA, walk_postgres
from headrace_audit.bootstrap import MIGRATIONS
from headrace_audit.checkpoints import Seal
from headrace_audit.domain import chain_of
from headrace_audit.exporting import Export
from headrace_audit.handlers import record_decisions
from headrace_audit.notes import SEED_BYTES, SigningKey
from headrace_audit.reports import VerifyReport
from headrace_audit.translation import decision_of
from headrace_audit.verification import Contents, Verification
from headrace_audit.verify import verify_database, verify_export
from headrace_audit.walks import walk_database
from headrace_messaging import Envelope, Event
from headrace_messaging.inbox import Inbox

_CHAINS = 4
_TOGETHER = 256  # links a transaction
_KEY = SigningKey(bytes(SEED_BYTES))
_KEYS = (_KEY.verifier,)


def verify(place: str, links: int, export: Path) -> Mapping[str, float]:
    """Write a record at a place; return how many links a second are verified there, and in an export of a file."""
    asyncio.run(_write(place, links))
    if "://" in place:
        return {"postgresql": _links_per_s(lambda: asyncio.run(walk_postgres(place, _judge)).report(), links)}
    with export.open("w", encoding="utf-8") as out:
        walk_database(Path(place), lambda contents: Export(contents, out, key=_KEY, made_at=_now()))
    return {
        "sqlite": _links_per_s(lambda: verify_database(Path(place), _KEYS), links),
        "export": _links_per_s(lambda: verify_export(export, _KEYS), links),
    }


def _links_per_s(judge: Callable[[], VerifyReport], links: int) -> float:
    began = time.perf_counter()
    report = judge()
    took_s = time.perf_counter() - began
    if not (report.verified and report.signatures_checked and report.links == links):
        raise AssertionError(f"a record of {links} links does not verify: {report}")
    return links / took_s


def _judge(contents: Contents) -> Verification:
    return Verification(contents, _KEYS)


async def _write(place: str, links: int) -> None:
    seal = Seal(_KEY)
    async with _open_record(place) as record:
        for partition in range(_CHAINS):
            chain = chain_of(partition)
            mine = range(partition, links, _CHAINS)
            events = [_event(number, partition, offset) for offset, number in enumerate(mine)]
            for begin in range(0, len(events), _TOGETHER):
                together = events[begin : begin + _TOGETHER]
                await record_decisions(
                    [decision_of(event) for event in together],
                    chain=chain,
                    delivery=record.delivery(chain, together),
                    seal=seal,
                    clock=_now,
                )


def _event(number: int, partition: int, offset: int) -> Event[AuditSubmitted]:
    """Make the n-th decision: a model's call, which has as many facts as any."""
    now = _now()
    payload = AuditSubmitted(
        action="model.completed",
        service="generate",
        tenant="acme",
        principal="alice",
        request_id=f"request-{number}",
        disposition="observed",
        model="smollm2-135m-instruct",
        input_tokens=500,
        output_tokens=100,
        facts={"attempt": "1", "attempt_id": f"attempt-{number}", "provider": "headrace"},
        decided_at=now.isoformat(),
    )
    envelope = Envelope(id=f"event-{number}", type=AUDIT_SUBMITTED, source="/bench", time=now, tenant="acme")
    return Event(envelope, payload, AUDIT_SUBMITTED, "acme", partition, offset, now)


@asynccontextmanager
async def _open_record(place: str) -> AsyncIterator[SqlRecord]:
    async with open_database(place, METADATA, schema=SCHEMA, migrations=MIGRATIONS) as (database, outbox):
        inbox = Inbox(database, INBOX, generation=GENERATION)
        yield SqlRecord(database, None, inbox=inbox, outbox=outbox, announce=announcement)


def _now() -> datetime:
    return datetime.now(UTC)
