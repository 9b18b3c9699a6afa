"""The one place where moderate's concretes meet."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from headrace_errors import Unavailable
from headrace_runtime import Chassis, Service
from headrace_telemetry import get_logger

from headrace_moderate.adapters.balances import SqlCounting
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

    async def sweep_forever() -> None:
        grace = timedelta(seconds=settings.sweep_grace_s)
        while True:
            try:
                count = await sweep(requests=requests, clock=now, observer=observer, grace=grace)
            except Unavailable as error:
                _log.warning("sweep.waiting", reason=error.reason)
            else:
                if count:
                    _log.warning("requests.swept", count=count)
            await asyncio.sleep(settings.sweep_interval_s)

    async def keep_checking() -> None:
        grace = timedelta(seconds=settings.sweep_grace_s + SWEEP_LATE_S)
        while True:
            try:
                await check_balances(counting=SqlCounting(database), watchers=observer, clock=now, grace=grace)
            except Unavailable as error:
                _log.warning("conservation.unchecked", reason=error.reason, detail=error.detail)
            await asyncio.sleep(settings.conservation_interval_s)

    return Service(
        subscriptions=kafka.subscriptions(
            requests=requests, tenants=chassis.tenants, policy=policy, clock=now, observer=observer
        ),
        rpcs=[grpc.rpc(requests=requests, policy=policy, clock=now, observer=observer)],
        before_ready=resume,
        tasks=[sweep_forever, keep_checking],
    )


def now() -> datetime:
    """Return the time, aware and in UTC."""
    return datetime.now(UTC)
