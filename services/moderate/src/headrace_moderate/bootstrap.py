"""The one place where moderate's concretes meet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from headrace_runtime import Chassis, Configured, Service, regularly
from headrace_telemetry import get_logger

from headrace_moderate.adapters.balances import SqlCounting
from headrace_moderate.adapters.prices import AskedPrices
from headrace_moderate.adapters.sql import SqlRequests
from headrace_moderate.adapters.tables import METADATA
from headrace_moderate.conservation import check_balances
from headrace_moderate.entrypoints import grpc, kafka
from headrace_moderate.handlers.keep import resume_on_bus, sweep
from headrace_moderate.metrics import Counters
from headrace_moderate.settings import Settings

MIGRATIONS = Path(__file__).with_name("migrations")
# How much longer than its grace the sweep may take to get round to a request.
SWEEP_LATE_S = 60
_log = get_logger()


async def build(settings: Settings, chassis: Chassis) -> Service:
    """Build the service: nothing of it runs yet."""
    database, outbox = await chassis.database(METADATA, migrations=MIGRATIONS)
    requests = SqlRequests(database, outbox, bus_generation=chassis.bus.generation)
    policy, observer = settings.policy(), Counters(chassis.tenants.by_id)

    async def resume() -> None:
        count = await resume_on_bus(requests=requests, clock=now, observer=observer)
        _log.info("requests.resumed", count=count)

    async def sweep_once() -> None:
        grace = timedelta(seconds=settings.sweep_grace_s)
        if count := await sweep(requests=requests, clock=now, observer=observer, grace=grace):
            _log.warning("requests.swept", count=count)

    async def check_once() -> None:
        grace = timedelta(seconds=settings.sweep_grace_s + SWEEP_LATE_S)
        await check_balances(counting=SqlCounting(database), watchers=observer, clock=now, grace=grace)

    return Service(
        subscriptions=kafka.subscriptions(
            requests=requests,
            tenants=chassis.tenants,
            prices=AskedPrices(generate=chassis.peer("generate"), meter=chassis.peer("meter")),
            policy=policy,
            clock=now,
            observer=observer,
        ),
        rpcs=[grpc.rpc(requests=requests, policy=policy, clock=now, observer=observer)],
        before_ready=resume,
        tasks=[
            partial(regularly, sweep_once, interval_s=settings.sweep_interval_s, missed="sweep.waiting"),
            partial(
                regularly, check_once, interval_s=settings.conservation_interval_s, missed="conservation.unchecked"
            ),
        ],
        configuration=[Configured("rails", settings.rails().encode())],
    )


def now() -> datetime:
    """Return the time, aware and in UTC."""
    return datetime.now(UTC)
