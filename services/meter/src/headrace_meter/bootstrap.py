"""Puts the meter service together."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from headrace_errors import HeadraceError, Unavailable
from headrace_messaging.inbox import Inbox
from headrace_messaging.outbox import lease_table
from headrace_messaging.outbox.lease import Lease, LeaseTimes
from headrace_runtime import CannotStart, Chassis, Configured, Service, Tenants, regularly
from headrace_storage import Database
from headrace_telemetry import get_logger
from sqlalchemy import MetaData

from headrace_meter.adapters.announcements import Announcements
from headrace_meter.adapters.books import SqlBookkeeping
from headrace_meter.adapters.budgets import DeclaredTenants, declared_budgets
from headrace_meter.adapters.reports import SqlUsageBook
from headrace_meter.adapters.shelf import SqlShelf
from headrace_meter.adapters.sql import SqlLedger
from headrace_meter.adapters.standings import SqlBudgetBook
from headrace_meter.adapters.tables import INBOX, METADATA
from headrace_meter.adapters.unknown import SqlUnknownBook
from headrace_meter.booking import Answer
from headrace_meter.conservation import Monitor
from headrace_meter.declaring import declare_budgets
from headrace_meter.entrypoints import grpc, kafka
from headrace_meter.entrypoints.kafka import TOGETHER_MAX
from headrace_meter.facts import Fact
from headrace_meter.group_commit import GroupCommit
from headrace_meter.handlers import Rules, book_each, rate_unrated
from headrace_meter.metrics import Metrics
from headrace_meter.price_fields import InvalidPrices
from headrace_meter.price_file import built_in_book, read_price_file, read_prices
from headrace_meter.prices import PriceList
from headrace_meter.published import PricesInForce, PublishedBook
from headrace_meter.settings import Settings

MIGRATIONS = Path(__file__).with_name("migrations")
CALL_LANES = 2  # transactions of callers at a time: the other connections are for what the topics bring
CALLS_WAITING_MAX = 1_024  # a lane
PRICES_ASKED_EVERY_S = 1.0
_log = get_logger()


async def build(settings: Settings, chassis: Chassis) -> Service:
    """Open the ledger under the declared prices and budgets; ValueError when the price book is wrong."""
    prices = price_book(settings, chassis.tenants)
    metrics = Metrics(chassis.tenants.by_id)
    database, outbox = await chassis.database(METADATA, migrations=MIGRATIONS)
    inbox = Inbox(database, INBOX, generation=chassis.bus.generation)
    names = {tenant.id: tenant.name for tenant in chassis.tenants.by_id.values()}
    announcements = Announcements(prices, _now, names)
    ledger = SqlLedger(database, inbox=inbox, outbox=outbox, announcements=announcements)
    rules = Rules(prices, DeclaredTenants(chassis.tenants), ledger.cost_rows, metrics)
    budgets = declared_budgets(chassis.tenants)

    async def book_calls(facts: Sequence[Fact]) -> Sequence[Answer | HeadraceError]:
        tenants = {fact.tenant for fact in facts}
        return await book_each(facts, transaction=ledger.transaction(tenants=tenants), rules=rules)

    post = GroupCommit(book_calls, lanes=CALL_LANES, together_max=TOGETHER_MAX, waiting_max=CALLS_WAITING_MAX)

    async def take(newer: PriceList) -> None:
        rules.prices = announcements.prices = newer
        await rate_unrated(new_transaction=ledger.transaction, rules=rules)

    shelf = SqlShelf(database, inbox=inbox, outbox=outbox)
    in_force = PricesInForce(shelf, take=take, currency=prices.currency)
    caught_up = asyncio.Event()
    configuration = [Configured("prices", declared_prices(settings, chassis.tenants), prices.version)]

    async def check_and_catch_up() -> None:
        await ledger.check_currency(prices.currency)
        await declare_budgets(budgets, transaction=ledger.transaction(), clock=_now)
        if book := await newest_book(in_force):
            configuration[:] = [Configured("prices", book.text.encode(), book.version)]  # what the files say is void
        else:
            await rate_unrated(new_transaction=ledger.transaction, rules=rules)  # a book that is taken does it itself
        _log.info("prices.in_force", version=rules.prices.version, published=book is not None)
        caught_up.set()

    watch = _SoleWatch(_monitor_of(database, metrics, settings), _lease_of_the_monitor(database, settings))
    book, standings, unknown = SqlUsageBook(database), SqlBudgetBook(database), SqlUnknownBook(database)
    rpc = partial(grpc.rpc, book=book, budgets=standings, unknown=unknown, clock=_now)
    return Service(
        subscriptions=[
            *kafka.subscriptions(transaction=ledger.transaction, rules=rules),
            kafka.prices_subscription(put=shelf.put, rules=rules),
        ],
        rpcs=[rpc(post=post, rules=rules, caught_up=caught_up)],
        before_ready=check_and_catch_up,
        tasks=[
            _task(watch.check, every_s=settings.conservation_interval_s, missed="conservation.unchecked"),
            _task(partial(_look_for_prices, in_force, rules), every_s=PRICES_ASKED_EVERY_S, missed="prices.unread"),
        ],
        closers=[watch.hand_over],
        offsets=inbox,
        configuration=configuration,
    )


def _task(work: Callable[[], Awaitable[None]], *, every_s: float, missed: str) -> Callable[[], Awaitable[None]]:
    return partial(regularly, work, interval_s=every_s, missed=missed)


def price_book(settings: Settings, tenants: Tenants) -> PriceList:
    """Read the book that the settings name, else the tenants file's, else the built-in one; ValueError says where."""
    book = settings.prices_file or (settings.tenants_file if tenants.prices else None)
    currency = tenants.currency
    return read_price_file(book, currency=currency) if book else read_prices(tenants.prices, currency=currency)


async def newest_book(in_force: PricesInForce) -> PublishedBook | None:
    """Let the newest published book hold from the start; CannotStart where it is no use: older prices are wrong."""
    try:
        return await in_force.refresh()
    except InvalidPrices as error:
        what = "start a release that reads it (the one that took it in), and publish another book there to go back"
        raise CannotStart(f"the published price book is no use here: {error}; {what}") from error


async def _look_for_prices(in_force: PricesInForce, rules: Rules) -> None:
    """Let a newer published book hold; one that is no use is told once."""
    try:
        book = await in_force.refresh()
    except InvalidPrices as error:
        _log.error("prices.unusable", detail=str(error), version=rules.prices.version)
        return
    if book:
        _log.info("prices.in_force", version=book.version, published=True)


@dataclass(frozen=True, slots=True)
class _SoleWatch:
    """One replica's monitor at a time checks the books."""

    monitor: Monitor
    lease: Lease

    async def check(self) -> None:
        if await self.lease.take():
            await self.monitor.check()
        else:
            self.monitor.stand_down()

    async def hand_over(self) -> None:
        with suppress(Unavailable):
            await self.lease.release()


def _monitor_of(database: Database, metrics: Metrics, settings: Settings) -> Monitor:
    return Monitor(
        bookkeeping=SqlBookkeeping(database),
        watchers=metrics,
        clock=_now,
        whole_every=timedelta(seconds=settings.conservation_whole_interval_s),
        leak_after=timedelta(seconds=settings.leaked_after_s),
    )


def declared_prices(settings: Settings, tenants: Tenants) -> bytes:
    """Return the price book as it was declared: a file of its own, a section of the tenants file, or the built-in."""
    if settings.prices_file:
        return settings.prices_file.read_bytes()
    return json.dumps(tenants.prices, sort_keys=True, default=str).encode() if tenants.prices else built_in_book()


def _lease_of_the_monitor(database: Database, settings: Settings) -> Lease:
    """Return what one replica at a time checks the books by; each check is a beat of it."""
    interval_ms = int(settings.conservation_interval_s * 1000)
    times = LeaseTimes(beat_ms=interval_ms, silent_max_ms=3 * interval_ms)
    # Who comes back under its name, or to a file of its own, finds its lease at once; others wait for three intervals.
    owner = settings.kafka.instance or (uuid.uuid4().hex if settings.sql.url else settings.service)
    return Lease(database, lease_table(MetaData()), "conservation", owner=owner, times=times)


def _now() -> datetime:
    return datetime.now(UTC)
