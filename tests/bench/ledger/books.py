"""Meter in this process on a database: what is between Kafka's client and SQL is the product's, nothing is faked.

Left out is what Kafka's client costs: records come out of memory, and nobody relays what the outbox takes in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from bench.ledger.databases import GENERATION, open_database
from bench.ledger.stream import CURRENCY, PRICES
from headrace.topics import USAGE_RECORDED
from headrace_errors import HeadraceError
from headrace_messaging import Bus, Codec, SubscriberOptions
from headrace_messaging.consuming.partitions import Progress
from headrace_messaging.consuming.processing import Processor
from headrace_messaging.event import Received
from headrace_messaging.inbox import Inbox
from headrace_messaging.outbox import Outbox
from headrace_messaging.retry.ladder import Ladder
from headrace_meter.adapters.announcements import Announcements
from headrace_meter.adapters.sql import SqlLedger
from headrace_meter.adapters.tables import INBOX, METADATA
from headrace_meter.booking import Answer
from headrace_meter.bootstrap import CALL_LANES, CALLS_WAITING_MAX, MIGRATIONS
from headrace_meter.budgets import Budget
from headrace_meter.declaring import declare_budgets
from headrace_meter.domain import Usage
from headrace_meter.entrypoints import kafka
from headrace_meter.facts import Fact
from headrace_meter.group_commit import GroupCommit
from headrace_meter.handlers import Rules, book_each
from headrace_meter.price_file import read_prices
from headrace_storage import Database


class Everybody:
    """Whoever spends is declared."""

    def check(self, tenant: str) -> None:
        """Refuse nobody."""


class Nobody:
    """Whom nothing is told."""

    def rated(self, model: str, cost_picos: int) -> None:
        """Do nothing."""

    def unrated(self, usage: Usage, reason: str) -> None:
        """Complain: everything here has a price."""
        raise AssertionError(f"{usage.usage_id}: {reason}")


class Books:
    """The ledger, its topics' processing, and its callers' group commit."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self.database = database
        prices = read_prices(PRICES, currency=CURRENCY)
        inbox = Inbox(database, INBOX, generation=GENERATION)
        self._ledger = SqlLedger(database, inbox=inbox, outbox=outbox, announcements=Announcements(prices, _now))
        self.rules = Rules(prices, Everybody(), self._ledger.cost_rows, Nobody())
        self.post = GroupCommit(
            self._book_calls, lanes=CALL_LANES, together_max=kafka.TOGETHER_MAX, waiting_max=CALLS_WAITING_MAX
        )
        self._processor = Processor(
            kafka.subscriptions(transaction=self._ledger.transaction, rules=self.rules),
            group="meter",
            publisher=None,  # type: ignore[arg-type] - nothing is dead-lettered here
            codec=Codec(Bus("unused", GENERATION), None),
            options=SubscriberOptions(),
            code_version="bench",
            ladder=Ladder([USAGE_RECORDED], group="meter", options=None),
        )

    @staticmethod
    def clock() -> datetime:
        """Return the time."""
        return _now()

    async def declare(self, budgets: Sequence[Budget]) -> None:
        """Declare budgets, as meter does at its start."""
        await declare_budgets(budgets, transaction=self._ledger.transaction(), clock=_now)

    async def take(self, records: Sequence[Received], progress: Progress) -> None:
        """Bring usages of a partition to their end, as many together as meter takes."""
        for begin in range(0, len(records), kafka.TOGETHER_MAX):
            together = list(records[begin : begin + kafka.TOGETHER_MAX])
            for record in together:
                progress.watermark.deliver(record.offset)
            await self._processor.process_together(together, progress)
            for record in together:
                progress.watermark.complete(record.offset)

    async def _book_calls(self, facts: Sequence[Fact]) -> Sequence[Answer | HeadraceError]:
        tenants = {fact.tenant for fact in facts}
        return await book_each(facts, transaction=self._ledger.transaction(tenants=tenants), rules=self.rules)


def progress_of(partition: int) -> Progress:
    """Return the beginning of a partition."""
    return Progress((USAGE_RECORDED, partition), 0, 0, committed=0, dense=False)


@asynccontextmanager
async def open_books(place: str, *, budgets: Sequence[Budget] = ()) -> AsyncIterator[Books]:
    """Open the ledger at a PostgreSQL URL or in a SQLite file, made where it is missing by meter's own migrations."""
    async with open_database(place, METADATA, schema="meter", migrations=MIGRATIONS) as (database, outbox):
        books = Books(database, outbox)
        await books.declare(budgets)
        yield books


def _now() -> datetime:
    return datetime.now(UTC)
