"""Usages on a real Kafka to cost rows there: a meter process with its relay, as it runs in production."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from bench.ledger.stream import CURRENCY, METERS, PRICES, Stream, tenants_of
from headrace import topics
from headrace_messaging.provisioning import Cluster, mend, wanted_topics

_READY_WITHIN_S = 90.0
_NOTHING_NEW_S = 60.0
_STOP_WITHIN_S = 40.0
_ALL_AT_ONCE = 2_000


def tenants_file(folder: Path, tenants: int) -> Path:
    """Write the tenants and prices of a run."""
    each = {"open": True, "principals": {}, "budget": {"monthly": "1000000"}}
    declared = {name: {"name": name} | each for name in tenants_of(tenants)}
    file = folder / "tenants.yaml"
    file.write_text(yaml.safe_dump({"currency": CURRENCY, "tenants": declared, "prices": PRICES}))
    return file


async def provision(bootstrap: str) -> None:
    """Make the declared topics."""
    async with Cluster.connect(bootstrap) as cluster:
        await mend(cluster, wanted_topics(topics.environments()["development"]))


async def publish(bootstrap: str, stream: Stream, count: int) -> None:
    """Put usages on their topic."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=20)
    await producer.start()
    try:
        for begin in range(0, count, _ALL_AT_ONCE):
            records = [await stream.record(number) for number in range(begin, min(begin + _ALL_AT_ONCE, count))]
            sent = [
                await producer.send(one.topic, one.value, key=one.key, headers=list(one.headers)) for one in records
            ]
            await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def cost_rows(bootstrap: str, count: int) -> float:
    """Wait until so many cost rows are committed on their topic; return the time of the last, by `time.monotonic`."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topics.COST_RECORDED, each) for each in _partitions()])
        found, last = 0, time.monotonic()
        while found < count:
            records = sum(map(len, (await consumer.getmany(timeout_ms=200)).values()))
            found, last = found + records, time.monotonic() if records else last
            if time.monotonic() - last > _NOTHING_NEW_S:
                raise SystemExit(f"{found} of {count} cost rows, and no more are coming")
        return last
    finally:
        await consumer.stop()


@contextmanager
def meter(environment: Mapping[str, str], log: Path) -> Iterator[float]:
    """Run a meter process for the length of the block; yield when it was ready, by `time.monotonic`."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "headrace_meter"], env={**os.environ, **environment}, stdout=out, stderr=out
        )
    try:
        until = time.monotonic() + _READY_WITHIN_S
        while '"service.ready"' not in log.read_text():
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"meter is not ready:\n{log.read_text()[-2000:]}")
            time.sleep(0.01)
        yield time.monotonic()
    finally:
        process.terminate()
        try:
            process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def events_per_s(environment: Mapping[str, str], folder: Path, name: str, *, tenants: int, events: int) -> float:
    """Publish usages, start meter, and return at which rate they became cost rows that a consumer can read."""
    bootstrap = environment["HEADRACE_KAFKA__BOOTSTRAP"]
    asyncio.run(publish(bootstrap, Stream(name, tenants_of(tenants)), events))
    own = dict(environment) | {
        "HEADRACE_TENANTS_FILE": str(tenants_file(folder, tenants)),
        "HEADRACE_DATA_DIR": str(folder),
        "HEADRACE_TELEMETRY__LOG_LEVEL": "info",
    }
    with meter(own, folder / "meter.log") as ready:
        return events / (asyncio.run(cost_rows(bootstrap, events * METERS)) - ready)


def _partitions() -> range:
    declared = wanted_topics(topics.environments()["development"])
    return range(next(each.partitions for each in declared if each.name == topics.COST_RECORDED))
