"""The load on a bus: records published when they are due, outcomes read, and the CPU that everybody took meanwhile.

When a request is due and what counts is pacing.py's.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from time import monotonic

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from bench.bus.cpu import Cores, Meter
from bench.bus.pacing import Measured, Pace, Plan

SETTLE_S = 30.0
_POLL_MS = 200
Headers = list[tuple[str, bytes]]
MakeRecord = Callable[[str], tuple[bytes, Headers]]
"""Given a request id, the value and headers of the record that asks for it; the id is the record's key."""


@dataclass(frozen=True)
class Route:
    """Where requests go and outcomes come from, keyed by request; an outcome as wanted has `answered` in its bytes."""

    bootstrap: str
    into: str
    out_of: str
    partitions: int
    make: MakeRecord
    answered: bytes = b""


async def drive(route: Route, plan: Plan, meter: Meter) -> tuple[Measured, Cores]:
    """Load a chain as planned and wait for what is under way; return what was seen, and the cores that were busy."""
    async with _producer(route) as producer, _outcomes(route) as consumer:
        pace = Pace(plan, monotonic())
        ended = asyncio.Event()
        reading = asyncio.create_task(_read(consumer, pace, route.answered, ended))
        metering = asyncio.create_task(metered(plan, meter))
        try:
            await _publish(producer, route, pace, ended)
            await _settled(pace, ended)
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
        return pace.measured(), await metering


@asynccontextmanager
async def _producer(route: Route) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=route.bootstrap, acks="all", enable_idempotence=True, linger_ms=0)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@asynccontextmanager
async def _outcomes(route: Route) -> AsyncIterator[AIOKafkaConsumer]:
    """Read from the topic's end as it is now."""
    consumer = AIOKafkaConsumer(bootstrap_servers=route.bootstrap, isolation_level="read_committed")
    await consumer.start()
    try:
        places = [TopicPartition(route.out_of, number) for number in range(route.partitions)]
        consumer.assign(places)
        for place, end in (await consumer.end_offsets(places)).items():
            consumer.seek(place, end)
        yield consumer
    finally:
        await consumer.stop()


async def _publish(producer: AIOKafkaProducer, route: Route, pace: Pace, ended: asyncio.Event) -> None:
    while not pace.over(monotonic()):
        ended.clear()
        for due_s in pace.take(monotonic()):
            request_id = str(uuid.uuid4())
            value, headers = route.make(request_id)
            pace.sent(request_id, due_s)
            await producer.send(route.into, value, key=request_id.encode(), headers=headers)
        wait_s = pace.wait_s(monotonic())
        if wait_s is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), _POLL_MS / 1000)
        else:
            await asyncio.sleep(wait_s)


async def _settled(pace: Pace, ended: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_S):
            while pace.under_way:
                ended.clear()
                await ended.wait()


async def _read(consumer: AIOKafkaConsumer, pace: Pace, answered: bytes, ended: asyncio.Event) -> None:
    while True:
        found = await consumer.getmany(timeout_ms=_POLL_MS)
        now_s = monotonic()
        for record in (record for records in found.values() for record in records):
            pace.ended((record.key or b"").decode(), now_s, answered=answered in (record.value or b""))
        ended.set()


async def metered(plan: Plan, meter: Meter) -> Cores:
    """Return the cores that were busy in the seconds that count."""
    await asyncio.sleep(plan.warm_up_s)
    before, began_s = await asyncio.to_thread(meter), monotonic()
    await asyncio.sleep(plan.seconds)
    after: Mapping[str, float] = await asyncio.to_thread(meter)
    wall_s = monotonic() - began_s
    return {name: max(spent_s - before[name], 0.0) / wall_s for name, spent_s in after.items()}
