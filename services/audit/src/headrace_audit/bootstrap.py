"""Puts the audit service together."""

from __future__ import annotations

import hashlib
import importlib.resources
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from headrace_messaging.inbox import Inbox
from headrace_runtime import Chassis, Service, regularly
from pydantic import SecretStr

from headrace_audit import metrics
from headrace_audit.adapters.anchors import ObjectAnchor
from headrace_audit.adapters.announcements import announcement
from headrace_audit.adapters.key_files import KeyFiles, signing_key
from headrace_audit.adapters.sql import SqlRecord
from headrace_audit.adapters.tables import INBOX, METADATA
from headrace_audit.checkpoints import Seal
from headrace_audit.configuration import TENANTS
from headrace_audit.entrypoints import grpc, kafka
from headrace_audit.handlers import anchor_checkpoints, keep_checkpoints, record_configuration, take_over
from headrace_audit.ports import BEGINNING
from headrace_audit.settings import Settings

MIGRATIONS = Path(__file__).with_name("migrations")


async def build(settings: Settings, chassis: Chassis) -> Service:
    """Open the record; the chains go on where they ended, on whichever bus. ValueError when the key is none."""
    files = KeyFiles(settings.state_dir)
    seal, anchor = _seal(settings, files), _anchor(settings)
    database, outbox = await chassis.database(METADATA, migrations=MIGRATIONS)
    inbox = Inbox(database, INBOX, generation=chassis.bus.generation)
    path = None if settings.sql.url else settings.state_dir / "state.db"
    keys = [seal.key.verifier]
    record = SqlRecord(database, path, inbox=inbox, outbox=outbox, announce=announcement, keys=keys)

    reached = BEGINNING

    async def keep_and_anchor() -> None:
        nonlocal reached
        await keep_checkpoints(record=record, seal=seal, clock=_now)
        if anchor:
            done = await anchor_checkpoints(record=record, anchor=anchor, after=reached)
            metrics.anchor_differs(done.differing)
            reached = done.reached

    async def take_over_the_chains() -> None:
        await take_over(record=record, seal=seal, clock=_now)
        files.publish(seal.key.verifier)  # from now on it is the one that signs
        await record_configuration(_declared(settings), record=record, seal=seal, clock=_now)

    return Service(
        subscriptions=kafka.subscriptions(delivery=record.delivery, seal=seal, clock=_now),
        rpcs=[grpc.rpc(record=record)],
        before_ready=take_over_the_chains,
        tasks=[
            partial(
                regularly,
                keep_and_anchor,
                interval_s=settings.checkpoint_interval_s,
                missed="checkpoints.waiting",
            )
        ],
        offsets=inbox,
    )


def _declared(settings: Settings) -> dict[str, str]:
    """Return the configuration that audit sees itself: the file of tenants, principals, budgets and prices."""
    built_in = importlib.resources.files("headrace_runtime").joinpath("tenants.yaml")
    content = settings.tenants_file.read_bytes() if settings.tenants_file else built_in.read_bytes()
    return {TENANTS: hashlib.sha256(content).hexdigest()}


def _seal(settings: Settings, files: KeyFiles) -> Seal:
    if settings.signing_key is None:
        return Seal(files.take_up(), files.successions(), settings.checkpoint_links_max)
    key = signing_key(settings.signing_key.get_secret_value())
    return Seal(key, settings.successions, settings.checkpoint_links_max)


def _anchor(settings: Settings) -> ObjectAnchor | None:
    if settings.anchor is None:
        return None
    blobs = settings.blobs
    return ObjectAnchor.at(
        settings.anchor,
        endpoint=blobs.endpoint,
        region=blobs.region,
        access_key_id=_revealed(blobs.access_key_id),
        secret_access_key=_revealed(blobs.secret_access_key),
    )


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _now() -> datetime:
    return datetime.now(UTC)
