"""The record's ports on both of their implementations: in memory, and SQL."""

from functools import partial

import pytest
from headrace.audit.v1.events_pb2 import AuditSubmitted
from headrace_audit.adapters.announcements import announcement
from headrace_audit.adapters.memory import MemoryRecord
from headrace_audit.adapters.sql import SqlRecord
from headrace_audit.adapters.tables import INBOX, METADATA
from headrace_audit.adapters.walk_tables import walk_tables
from headrace_audit.checkpoints import Seal
from headrace_audit.domain import chain_of
from headrace_audit.handlers import record_decisions
from headrace_audit.translation import decision_of
from headrace_audit.verification import Verification, verify
from headrace_audit.walks import walk_database
from headrace_messaging import Bus, Codec, Envelope, Event
from headrace_messaging.inbox import Inbox
from headrace_messaging.outbox import Outbox, outbox_table
from headrace_storage import Database
from sqlalchemy import MetaData

from .forging import KEY, NOON, written

SEAL = Seal(KEY, links_max=4)


class Audit:
    """The use cases over one implementation of the ports."""

    def __init__(self, record, seal=SEAL, database=None) -> None:
        self.record = record
        self.seal = seal
        self.database = database

    def signing_with(self, seal):
        """Return the same record's use cases with another seal."""
        return Audit(self.record, seal, self.database)

    async def verified(self, *keys):
        """Verify the record as an auditor does who trusts these keys."""
        if self.database is None:
            return verify(self.record.ordered(), self.record.contents, keys)
        return (await walk_tables(self.database, lambda contents: Verification(contents, keys))).report()

    async def submit(self, number: int, *, partition: int = 0, tenant: str = "acme", request: str = "r1"):
        """Record the n-th decision as it comes from a partition."""
        links = await self.deliver([submitted(number, partition=partition, tenant=tenant, request=request)])
        return links[0] if links else None

    async def deliver(self, events):
        """Record what one partition delivers together; return the links of what was new."""
        return await record_decisions(
            [decision_of(event) for event in events],
            chain=chain_of(events[0].partition),
            delivery=self.record.delivery(chain_of(events[0].partition), events),
            seal=self.seal,
            clock=lambda: NOON,
        )


def submitted(
    number: int,
    *,
    partition: int = 0,
    tenant: str = "acme",
    request: str = "r1",
    offset: int | None = None,
    event_id: str = "",
    traceparent: str = "",
) -> Event:
    """Make the n-th event as it is delivered: at the n-th offset unless told otherwise."""
    payload = AuditSubmitted(
        action="request.admitted",
        service="moderate",
        tenant=tenant,
        request_id=request,
        disposition="allowed",
        decided_at="2026-11-21T11:59:59Z",
        facts={"number": str(number)},
    )
    envelope = Envelope(
        id=event_id or f"event-{number}", type="t", source="/test", time=NOON, tenant=tenant, traceparent=traceparent
    )
    return Event(envelope, payload, "t", tenant, partition, number if offset is None else offset, NOON)


async def open_sql(opening, path=None, *, generation: str = "g", keys=None):
    """Open the SQL record as the service does, on a database that `opening` opens with its metadata.

    Return it with its database and outbox table.
    """
    metadata = MetaData()
    for declared in METADATA.tables.values():
        declared.to_metadata(metadata)
    outbox = metadata.tables["outbox"] if "outbox" in metadata.tables else outbox_table(metadata)
    database = await opening(metadata)
    record = SqlRecord(
        database,
        path,
        inbox=Inbox(database, INBOX, generation=generation),
        outbox=Outbox(outbox, Codec(Bus("nowhere:0"), None)),
        announce=announcement,
        keys=keys,
    )
    return record, database, outbox


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def audit(request, databases, tmp_path):
    """Return the use cases on each implementation."""
    if request.param == "memory":
        yield Audit(MemoryRecord())
        return
    path = tmp_path / "state.db" if request.param == "sqlite" else None
    record, database, _ = await open_sql(partial(databases.open, request.param), path)
    yield Audit(record, database=database)


@pytest.fixture
def make_audit():
    """Return the use cases' class."""
    return Audit


@pytest.fixture(params=["sqlite", "postgresql"])
def open_record(request, databases, tmp_path):
    """Return the opener of a SQL record."""
    path = tmp_path / "state.db" if request.param == "sqlite" else None
    return partial(open_sql, partial(databases.open, request.param), path)


@pytest.fixture
def open_sql_record():
    """Return the opener of a SQL record on any database."""
    return open_sql


@pytest.fixture
async def recorded(tmp_path):
    """Return the file of a record with two chains of six links each, closed."""
    path = tmp_path / "recorded.db"
    record, database, _ = await open_sql(partial(Database.open, path), path)
    for number in range(12):
        await Audit(record).submit(number, partition=number % 2, request=f"r{number // 4}")
    await database.close()
    return path


@pytest.fixture
def submitted_event():
    """Return the maker of delivered events."""
    return submitted


@pytest.fixture
def export(recorded, tmp_path):
    """Return an export of two chains of six links each, a checkpoint after the fourth and one at the end."""
    path = tmp_path / "audit.jsonl"
    with path.open("w") as out:
        assert walk_database(recorded, lambda contents: written(contents, out)).report().links == 12
    return path


@pytest.fixture
async def finely_signed(make_audit, open_record, tmp_path):
    """Return an export of a chain of six links with a checkpoint after each, from either database."""
    record, database, _ = await open_record()
    audit = make_audit(record, Seal(KEY, links_max=1))
    for number in range(6):
        await audit.submit(number)
    path = tmp_path / "audit.jsonl"
    with path.open("w") as out:
        await walk_tables(database, lambda contents: written(contents, out))
    return path
