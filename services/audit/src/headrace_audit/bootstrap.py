"""Puts the audit service together."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from headrace_messaging.inbox import Inbox
from headrace_runtime import Chassis, Service

from headrace_audit.adapters.announcements import announcement
from headrace_audit.adapters.sql import INBOX, METADATA, SqlRecord
from headrace_audit.entrypoints import grpc, kafka
from headrace_audit.settings import Settings

MIGRATIONS = Path(__file__).with_name("migrations")


async def build(settings: Settings, chassis: Chassis) -> Service:
    """Open the record; the chains go on where they ended, on whichever bus."""
    database, outbox = await chassis.database(METADATA, migrations=MIGRATIONS)
    inbox = Inbox(database, INBOX, generation=chassis.bus.generation)
    path = None if settings.sql.url else settings.state_dir / "state.db"
    record = SqlRecord(database, path, inbox=inbox, outbox=outbox, announce=announcement)
    return Service(
        subscriptions=kafka.subscriptions(delivery=record.delivery, clock=_now),
        rpcs=[grpc.rpc(record=record)],
        offsets=inbox,
    )


def _now() -> datetime:
    return datetime.now(UTC)
