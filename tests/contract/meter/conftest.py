"""The ledger port on both of its implementations: in memory, and SQL."""

# ruff: noqa: ARG002 - the ports say what their methods promise

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from headrace import topics
from headrace.audit.v1.events_pb2 import AuditSubmitted
from headrace.usage.v1.usage_pb2 import UsageRecorded
from headrace_errors import Refused, Unavailable
from headrace_messaging import Bus, Codec, Envelope, Event
from headrace_messaging.inbox import Inbox
from headrace_messaging.outbox import Outbox, outbox_table
from headrace_meter.accounts import Account
from headrace_meter.adapters.announcements import Announcements
from headrace_meter.adapters.memory import MemoryLedger
from headrace_meter.adapters.reports import SqlUsageBook
from headrace_meter.adapters.sql import SqlLedger
from headrace_meter.adapters.standings import SqlBudgetBook
from headrace_meter.adapters.tables import INBOX, METADATA
from headrace_meter.adapters.unknown import SqlUnknownBook
from headrace_meter.budgets import AccountKey, Budget
from headrace_meter.declaring import declare_budgets
from headrace_meter.domain import Usage, day_of
from headrace_meter.facts import Close, Wanted
from headrace_meter.group_commit import GroupCommit
from headrace_meter.handlers import (
    Rules,
    Wish,
    book_all,
    book_each,
    rate_unrated,
    rated,
    release,
    reserve,
    settle,
)
from headrace_meter.ports import Selection, UsageReport
from headrace_meter.price_file import read_prices
from headrace_meter.questions import get_unknown, get_usage
from headrace_storage import Database
from sqlalchemy import MetaData, select

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
RATES = [{"model": "m", "from": "2026-01-01", "per_million": {"input_tokens": "1", "output_tokens": "2"}},
         {"model": "e", "from": "2026-01-01", "per_million": {"embedding_tokens": "1"}},
         {"model": "tiered", "from": "2026-01-01",
          "per_million": {"input_tokens": [{"up_to": 25, "price": "3"}, {"up_to": 70, "price": "2"}, {"price": "1"}],
                          "output_tokens": "2"},
          "instead": [{"when": {"prompt_above_tokens": 40},
                       "per_million": {"input_tokens": [{"up_to": 100, "price": "6"}, {"price": "4"}]}}]}]  # fmt: skip


class FakeTenants:
    """The tenants that are declared."""

    def __init__(self, *declared: str) -> None:
        self.declared = declared

    def check(self, tenant: str) -> None:
        if tenant not in self.declared:
            raise Refused(f"tenant {tenant} is not declared", reason="unknown_tenant")


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
        return [(one.usage_id, one.meter) for one in self.costs], [percent for _, percent in self.crossed]

    async def crossings(self):
        return [(key.budget or "month", key.subject, key.period, percent) for key, percent in self.crossed]


class SqlUnderTest:
    """The SQL adapters as the service puts them together."""

    def __init__(self, database: Database, table, ledger: SqlLedger) -> None:
        self.database, self.table = database, table
        self.transaction, self.report = ledger.transaction, SqlUsageBook(database).report
        self.standings = SqlBudgetBook(database).standings
        self.unknown = SqlUnknownBook(database).unknown
        self.cost_rows = ledger.cost_rows
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

    async def told(self, topic):
        """Return the ids and contents of what leaves for the topics whose name has this word, in order."""
        async with self.database.read() as connection:
            rows = (await connection.execute(select(self.table).order_by(self.table.c.seq))).all()
        return [(dict(json.loads(row.headers))["ce_id"], json.loads(row.value)) for row in rows if topic in row.topic]

    async def audited(self, action):
        """Return the ids and records of what leaves for audit by that action, in order."""
        async with self.database.read() as connection:
            rows = (await connection.execute(select(self.table).order_by(self.table.c.seq))).all()
        told = [
            (dict(json.loads(row.headers))["ce_id"], AuditSubmitted.FromString(row.value))
            for row in rows
            if row.topic == topics.AUDIT_SUBMITTED
        ]
        return [(id_, record) for id_, record in told if record.action == action]

    async def crossings(self):
        fields = ("budget", "subject", "period", "percent")
        return [tuple(row[name] for name in fields) for _, row in await self.told("budget")]

    async def published(self):
        costs = [(row["x_UsageId"], row["SkuMeter"]) for _, row in await self.told("cost")]
        return costs, [row["percent"] for _, row in await self.told("budget")]


class Meter:
    """The use cases over one implementation of the port."""

    def __init__(self, ledger, *budgets: Budget, **limits: int | None) -> None:
        """Declare monthly `limits` by tenant in picos, None for none, and further budgets, at the first use."""
        self.ledger = ledger
        self.told = Told()
        limits = limits or {"acme": 10**9, "globex": None}
        whole = {name: most for name, most in limits.items() if most is not None}
        monthly = [Budget(tenant=name, period="month", amount_picos=most) for name, most in whole.items()]
        self.budgets, self._declared, self._declaring = [*monthly, *budgets], False, asyncio.Lock()
        self.tenants = FakeTenants(*limits)
        self.clock = lambda: NOON
        self.rules = self._rules(RATES, "v1")
        self.post = GroupCommit(self._book_calls, lanes=2, together_max=512, waiting_max=1_024)

    def _rules(self, rates, version) -> Rules:
        prices = read_prices({"version": version, "rates": rates}, currency="USD")
        return Rules(prices, self.tenants, self.ledger.cost_rows, self.told)

    async def declare(self, *budgets: Budget) -> None:
        """Declare these budgets and no others, as a replica does at its start."""
        self.budgets = list(budgets)
        await declare_budgets(budgets, transaction=self.ledger.transaction(), clock=self.clock)
        self._declared = True

    async def declare_once(self) -> None:
        async with self._declaring:
            if not self._declared:
                await self.declare(*self.budgets)

    async def _transaction(self, *args, **options):
        await self.declare_once()
        return self.ledger.transaction(*args, **options)

    async def _book_calls(self, facts):
        transaction = await self._transaction(tenants={fact.tenant for fact in facts})
        return await book_each(facts, transaction=transaction, rules=self.rules)

    async def use(self, usage: Usage, event_id: str | None = None) -> int | None:
        return (await self.book([(event_id or usage.usage_id, usage)]))[0]

    async def book(self, deliveries) -> list[int | None]:
        """Book events of one partition together: usages and outcomes by the id of their event."""
        events = [delivery(id_, tenant=fact.tenant, offset=offset) for offset, (id_, fact) in enumerate(deliveries)]
        facts = [
            await rated(fact, trace={}, rules=self.rules) if isinstance(fact, Usage) else fact for _, fact in deliveries
        ]
        return await book_all(facts, transaction=await self._transaction(events), rules=self.rules)

    async def settle(self, usage: Usage) -> int | None:
        return await settle(usage, trace={}, post=self.post, rules=self.rules)

    async def reserve(
        self, reservation_id="a1", *, tenant="acme", request="r1", tokens=100, model="m", **purpose
    ) -> int:
        wish = Wish(
            tenant=tenant,
            reservation_id=reservation_id,
            request_id=request,
            model=model,
            quantities={"input_tokens": tokens},
            **purpose,
        )
        return await reserve(wish, trace={}, post=self.post, rules=self.rules, clock=self.clock)

    async def release(self, reservation_id="a1", *, tenant="acme") -> None:
        await release(tenant, reservation_id, post=self.post)

    async def close(self, request="r1", *, attempts=1, embedding_tokens=0, tenant="acme", at=NOON) -> None:
        counts = {"attempts": attempts, "embedding_tokens": embedding_tokens}
        await self.book([(f"outcome-{request}", Close(tenant=tenant, request_id=request, at=at, **counts))])

    async def rerate(self, rates) -> int:
        self.rules = self._rules(rates, "v2")
        return await rate_unrated(new_transaction=self.ledger.transaction, rules=self.rules)

    async def report(self, *group_by: str, tenant="acme", **selection) -> UsageReport:
        return await get_usage(Selection(tenant, **selection), group_by, book=self.ledger)

    async def unknown(self, tenant="acme", request_id="") -> list[tuple[str, int, int]]:
        """Return the ids of usages of which nobody knows how much they were, what each was charged and what is held."""
        found = await get_unknown(tenant, request_id, book=self.ledger)
        return [(one.usage.usage_id, one.cost_picos, one.reserved_picos) for one in found.usages]

    async def account(self, tenant="acme", period="2026-11", budget="", subject="") -> Account:
        key = AccountKey(tenant, period, budget, subject)
        await self.declare_once()
        async with self.ledger.transaction() as ledger:
            return (await ledger.load(Wanted(accounts=frozenset([key])))).account(key)

    async def standings(self, tenant="acme", *, accounts_max=99) -> dict[str, list[Account]]:
        found = await self.ledger.standings(tenant, day_of(self.clock()), accounts_max=accounts_max)
        return {one.budget.name: list(one.accounts) for one in found}


def delivery(event_id: str, *, tenant: str, offset: int = 0) -> Event:
    """Make a delivered event with this id."""
    envelope = Envelope(id=event_id, type="t", source="/test", time=NOON, tenant=tenant)
    return Event(envelope, UsageRecorded(), "t", "k", 0, offset, NOON)


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


@pytest.fixture(scope="session")
def make_usage():
    """Return the maker of usages."""
    return usage


@pytest.fixture(scope="session")
def make_delivery():
    """Return the maker of delivered events."""
    return delivery


@pytest.fixture(params=["sqlite", "postgresql"])
def open_sql(request, databases):
    """Return the opener of a SQL ledger; each opening is another replica."""
    return partial(SqlUnderTest.open, partial(databases.open, request.param))


@pytest.fixture(scope="session")
def make_meter():
    """Return the use cases' class."""
    return Meter


@pytest.fixture(scope="session")
def patiently():
    """Return what does a job again where a lock was waited for too long, as consumers and callers do."""

    async def until_done(job):
        for _ in range(60):
            with suppress(Unavailable):
                return await job()
        raise AssertionError("nobody gave the lock back")

    return until_done


@pytest.fixture(scope="session")
def noon():
    """Return when everything happens."""
    return NOON
