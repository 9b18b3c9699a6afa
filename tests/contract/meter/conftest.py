"""The ledger port on both of its implementations: in memory, and SQL."""

# ruff: noqa: ARG002 - the ports say what their methods promise

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from headrace.usage.v1.usage_pb2 import UsageRecorded
from headrace_errors import Refused
from headrace_messaging import Bus, Codec, Envelope, Event
from headrace_messaging.inbox import Inbox
from headrace_messaging.outbox import Outbox, outbox_table
from headrace_meter.adapters.announcements import Announcements
from headrace_meter.adapters.memory import MemoryLedger
from headrace_meter.adapters.reports import SqlUsageBook
from headrace_meter.adapters.sql import SqlLedger
from headrace_meter.adapters.tables import INBOX, METADATA
from headrace_meter.domain import Account, Usage
from headrace_meter.handlers import Rules, close_request, get_usage, rate_unrated, record_usage, release, reserve
from headrace_meter.ports import Selection, UsageReport
from headrace_meter.price_file import read_prices
from headrace_storage import Database
from sqlalchemy import MetaData, select

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
RATES = [{"model": "m", "from": "2026-01-01", "per_million": {"input_tokens": "1", "output_tokens": "2"}},
         {"model": "e", "from": "2026-01-01", "per_million": {"embedding_tokens": "1"}}]  # fmt: skip


class FakeBudgets:
    """Limits in picos; tenants that are not here are not declared."""

    def __init__(self, **limits: int | None) -> None:
        self.limits = limits

    def limit_picos(self, tenant: str) -> int | None:
        if tenant not in self.limits:
            raise Refused(f"tenant {tenant} is not declared", reason="unknown_tenant")
        return self.limits[tenant]

    def limit_picos_if_known(self, tenant: str) -> int | None:
        return self.limits.get(tenant)


@dataclass
class Told:
    """What the operators were told."""

    unrated_ids: list[str] = field(default_factory=list)
    rated_picos: int = 0

    def rated(self, model: str, cost_picos: int) -> None:
        self.rated_picos += cost_picos

    def unrated(self, usage: Usage, reason: str) -> None:
        self.unrated_ids.append(usage.usage_id)


class MemoryUnderTest(MemoryLedger):
    """The ledger in memory, and what it announced."""

    async def published(self):
        return [(one.usage_id, one.meter) for one in self.costs], [percent for *_, percent in self.crossed]


class SqlUnderTest:
    """The SQL adapters as the service puts them together."""

    def __init__(self, database: Database, table, ledger: SqlLedger) -> None:
        self.database, self.table = database, table
        self.transaction, self.report = ledger.transaction, SqlUsageBook(database).report
        self.check_currency = ledger.check_currency

    @classmethod
    async def open(cls, opening):
        metadata = MetaData()
        for declared in METADATA.tables.values():
            declared.to_metadata(metadata)
        outbox = outbox_table(metadata) if "outbox" not in metadata.tables else metadata.tables["outbox"]
        database = await opening(metadata)
        ledger = SqlLedger(
            database,
            inbox=Inbox(database, INBOX, generation="g"),
            outbox=Outbox(outbox, Codec(Bus("nowhere:0"), None)),
            announcements=Announcements(read_prices({"version": "v1", "rates": RATES}, currency="USD"), lambda: NOON),
        )
        return cls(database, outbox, ledger)

    async def published(self):
        async with self.database.read() as connection:
            rows = (await connection.execute(select(self.table).order_by(self.table.c.seq))).all()
        events = [(row.topic, json.loads(row.value)) for row in rows]
        costs = [(row["x_UsageId"], row["SkuMeter"]) for topic, row in events if "cost" in topic]
        return costs, [row["percent"] for topic, row in events if "budget" in topic]


class Meter:
    """The use cases over one implementation of the port."""

    def __init__(self, ledger, **limits: int | None) -> None:
        self.ledger = ledger
        self.told = Told()
        self.budgets = FakeBudgets(**(limits or {"acme": 10**9, "globex": None}))
        self.rules = Rules(read_prices({"version": "v1", "rates": RATES}, currency="USD"), self.budgets, self.told)

    async def use(self, usage: Usage, event_id: str | None = None) -> int | None:
        event = delivery(event_id or usage.usage_id, tenant=usage.tenant)
        return await record_usage(usage, transaction=self.ledger.transaction(event), rules=self.rules)

    async def settle(self, usage: Usage) -> int | None:
        transaction = self.ledger.transaction(tenant=usage.tenant)
        return await record_usage(usage, transaction=transaction, rules=self.rules)

    async def reserve(self, reservation_id="a1", *, tenant="acme", request="r1", tokens=100, model="m") -> int:
        return await reserve(
            tenant,
            reservation_id,
            request,
            model,
            {"input_tokens": tokens},
            transaction=self.ledger.transaction(tenant=tenant),
            rules=self.rules,
            clock=lambda: NOON,
        )

    async def release(self, reservation_id="a1", *, tenant="acme") -> None:
        await release(tenant, reservation_id, transaction=self.ledger.transaction(tenant=tenant))

    async def close(self, request="r1", *, attempts=1, embedding_tokens=0, tenant="acme", at=NOON) -> None:
        transaction = self.ledger.transaction(delivery(f"outcome-{request}", tenant=tenant))
        await close_request(
            tenant, request, attempts=attempts, embedding_tokens=embedding_tokens, at=at, transaction=transaction
        )

    async def rerate(self, rates) -> int:
        self.rules = Rules(read_prices({"version": "v2", "rates": rates}, currency="USD"), self.budgets, self.told)
        return await rate_unrated(new_transaction=self.ledger.transaction, rules=self.rules)

    async def report(self, *group_by: str, tenant="acme", **selection) -> UsageReport:
        return await get_usage(Selection(tenant, **selection), group_by, book=self.ledger)

    async def account(self, tenant="acme", period="2026-11") -> Account:
        async with self.ledger.transaction(None) as ledger:
            return await ledger.account(tenant, period)


def delivery(event_id: str, *, tenant: str) -> Event:
    """Make a delivered event with this id."""
    envelope = Envelope(id=event_id, type="t", source="/test", time=NOON, tenant=tenant)
    return Event(envelope, UsageRecorded(), "t", "k", 0, 0, NOON)


def usage(number: int = 1, **fields) -> Usage:
    """Make the n-th usage: its attempt and reservation are `a<n>`, of request r1."""
    return Usage(
        **{
            "usage_id": f"u{number}",
            "attempt_id": f"a{number}",
            "reservation_id": f"a{number}",
            "attempt": number,
            "tenant": "acme",
            "request_id": "r1",
            "operation": "generate",
            "model": "m",
            "provider": "headrace",
            "status": "completed",
            "quantities": {"input_tokens": 10, "output_tokens": 5},
            "started_at": NOON,
            "ended_at": NOON + timedelta(seconds=1),
        }
        | fields
    )


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def meter(request, databases):
    """Return the use cases on each implementation; acme may spend 10^9 picos a month, globex anything."""
    if request.param == "memory":
        yield Meter(MemoryUnderTest())
        return
    yield Meter(await SqlUnderTest.open(partial(databases.open, request.param)))


@pytest.fixture
def make_usage():
    """Return the maker of usages."""
    return usage


@pytest.fixture(params=["sqlite", "postgresql"])
def open_sql(request, databases):
    """Return the opener of a SQL ledger; each opening is another replica."""
    return partial(SqlUnderTest.open, partial(databases.open, request.param))


@pytest.fixture
def make_meter():
    """Return the use cases' class."""
    return Meter
