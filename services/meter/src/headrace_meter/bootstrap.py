"""Puts the meter service together."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from headrace_errors import Unavailable
from headrace_messaging.inbox import Inbox
from headrace_runtime import Chassis, Service
from headrace_telemetry import get_logger

from headrace_meter.adapters.announcements import Announcements
from headrace_meter.adapters.books import SqlBookkeeping
from headrace_meter.adapters.budgets import DeclaredBudgets
from headrace_meter.adapters.reports import SqlUsageBook
from headrace_meter.adapters.sql import SqlLedger
from headrace_meter.adapters.tables import INBOX, METADATA
from headrace_meter.conservation import check_books
from headrace_meter.entrypoints import grpc, kafka
from headrace_meter.handlers import Rules, rate_unrated
from headrace_meter.metrics import Metrics
from headrace_meter.price_file import read_prices
from headrace_meter.settings import Settings

MIGRATIONS = Path(__file__).with_name("migrations")
_log = get_logger()


async def build(settings: Settings, chassis: Chassis) -> Service:
    """Open the ledger under the declared prices and budgets; ValueError when the price list is wrong."""
    prices = read_prices(chassis.tenants.prices, currency=chassis.tenants.currency)
    metrics = Metrics(chassis.tenants.by_id)
    rules = Rules(prices, DeclaredBudgets(chassis.tenants), metrics)
    database, outbox = await chassis.database(METADATA, migrations=MIGRATIONS)
    inbox = Inbox(database, INBOX, generation=chassis.bus.generation)
    ledger = SqlLedger(database, inbox=inbox, outbox=outbox, announcements=Announcements(prices, _now))

    async def check_and_catch_up() -> None:
        await ledger.check_currency(prices.currency)
        await rate_unrated(new_transaction=ledger.transaction, rules=rules)

    async def keep_checking() -> None:
        while True:
            try:
                await check_books(bookkeeping=SqlBookkeeping(database), watchers=metrics)
            except Unavailable as error:
                _log.warning("conservation.unchecked", reason=error.reason, detail=error.detail)
            await asyncio.sleep(settings.conservation_interval_s)

    return Service(
        subscriptions=kafka.subscriptions(transaction=ledger.transaction, rules=rules),
        rpcs=[grpc.rpc(transaction=ledger.transaction, book=SqlUsageBook(database), rules=rules, clock=_now)],
        before_ready=check_and_catch_up,
        tasks=[keep_checking],
        offsets=inbox,
    )


def _now() -> datetime:
    return datetime.now(UTC)
