"""Sixteen writers and a relay under faults, on a real Kafka: every row once on the topic, each key in order."""

import asyncio
import random

import pytest
from headrace_messaging import Bus

KILLS = 25


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_kill_9_of_the_writing_and_relaying_process(native_kafka, service_on, database_of, kind):
    """Whatever it was doing, the next process finds out from the checkpoint what is on the topic."""
    service, dice, kills = await service_on(native_kafka, database_of(kind), total=1_000), random.Random(7), 0
    running = service.start()
    while not await running.ended_within(dice.uniform(0.1, 1.0) if kills < KILLS else 120):
        await running.kill()
        kills += 1
        running = service.start()
    assert kills >= 3
    await service.assert_exactly_once()


async def test_replicas_that_are_killed_and_frozen(native_kafka, service_on, database_of):
    """One relays at a time; a frozen one that wakes up with rows in its hands is fenced off."""
    service, dice = await service_on(native_kafka, database_of("postgresql"), total=1_000), random.Random(11)
    replicas = {name: service.start(name) for name in ("a", "b", "c")}
    for _ in range(8):
        name = dice.choice(sorted(replicas))
        if dice.random() < 0.5:
            await replicas[name].freeze(1.6)  # longer than a lease lives
        else:
            await replicas[name].kill()
            replicas[name] = service.start(name)
        await asyncio.sleep(dice.uniform(0.1, 0.8))
    for replica in replicas.values():
        assert await replica.ended_within(120)
    await service.assert_exactly_once()


async def test_broker_restarts(own_server, service_on, database_of):
    """A commit whose answer is lost is found out about, not repeated."""
    server = own_server("kafka")
    service = await service_on(Bus(server.address), database_of("sqlite"), total=1_000)
    running = service.start()
    for stop in ("kill", "stop"):
        await asyncio.sleep(1)
        for process in server.processes:
            getattr(process, stop)()
        await asyncio.to_thread(start_again, server)
    assert await running.ended_within(120)
    await service.assert_exactly_once()


def start_again(server):
    """Start every process of a server on its old ports and wait until it is ready."""
    for process in server.processes:
        process.start()
    for process in server.processes:
        process.wait_ready()
