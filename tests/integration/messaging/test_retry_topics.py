"""Retry topics on a bus: delays in milliseconds, order per key, dead letters at the end, and what a restart finds."""

import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from bus_driving import ask, until
from headrace.topics import QUERY_REQUESTED, topic
from headrace_errors import Unavailable
from headrace_messaging import Ending, RetryOptions, SubscriberOptions, Subscription
from headrace_messaging.backoff import Backoff

DELAYS = {"5s": 100, "1m": 200, "10m": 300}
OPTIONS = SubscriberOptions(
    commit_interval_ms=20, backoff=Backoff(1, 5), retries=RetryOptions(delays_ms=DELAYS), drain_ms=1_000
)
RETRIES = [topic(QUERY_REQUESTED).retries("moderate", delay) for delay in DELAYS]
DLQ = topic(QUERY_REQUESTED).dead_letters("moderate")


class Service:
    """Fails for the keys that it is told to, as long as it is told to, and remembers what it saw when."""

    def __init__(self):
        self.down = set()
        self.calls = Counter()
        self.done = []
        self.endings = {}

    def subscription(self):
        """Subscribe to questions."""

        async def handle(event):
            number = int(event.payload.question)
            self.calls[number] += 1
            if event.key in self.down:
                raise Unavailable("away")
            self.done.append((event.key, number, time.monotonic()))
            return ()

        async def ended(event, ending):
            self.endings[event.envelope.id] = ending
            return ()

        return Subscription(QUERY_REQUESTED, handle, ended)

    def numbers(self, key):
        """Return what was done under a key, in its order."""
        return [number for one, number, _ in self.done if one == key]


@pytest.fixture
def service():
    """Make a service."""
    return Service()


async def test_a_key_in_trouble_waits_aside_and_holds_up_no_other(publisher, consuming, service):
    """Its messages come after the outage and in order; the others, of its partition too, did not wait for it."""
    service.down = {"k0"}
    async with consuming(service.subscription(), options=OPTIONS):
        await publisher.publish(*(ask(number, key=f"k{number % 8}") for number in range(80)))
        await until(lambda: len(service.done) == 70)
        assert not service.numbers("k0")
        service.down.clear()
        await until(lambda: len(service.done) == 80)
        await publisher.publish(ask(80, key="k0"))
        await until(lambda: len(service.done) == 81)
    assert service.numbers("k0") == list(range(0, 88, 8))
    assert not service.endings
    assert max(service.calls[number] for number in range(8, 80, 8)) == 1  # none was tried before its turn


async def test_delays_are_kept(publisher, consuming, service):
    """Three tries at once and three after each delay; then the dead letter, and the request has failed."""
    service.down = {"k"}
    began = time.monotonic()
    async with consuming(service.subscription(), options=OPTIONS):
        await publisher.publish(ask(0))
        await until(lambda: service.endings)
    assert time.monotonic() - began >= sum(DELAYS.values()) / 1000
    assert service.calls[0] == 12
    assert service.endings == {"q0": Ending("failed", "dead_lettered", "unavailable: away")}


async def test_the_original_bytes_reach_every_retry_topic_and_the_dead_letters(publisher, consuming, service, read_all):
    """Each record has them, in the partition of the source."""
    service.down = {"k"}
    await publisher.publish(ask(0))
    async with consuming(service.subscription(), options=OPTIONS):
        await until(lambda: service.endings)
    (source,) = await read_all(QUERY_REQUESTED)
    for name in (*RETRIES, DLQ):
        (record,) = await read_all(name)
        assert (record.partition, record.key, record.value) == (source.partition, source.key, source.value)
        assert record.headers[: len(source.headers)] == source.headers


async def test_a_retry_that_would_come_too_late_ends_the_request(publisher, consuming, service):
    """With twenty seconds left it may wait for a tenth of a second, but not for a minute: expired at once."""
    service.down = {"k"}
    deadline = datetime.now(UTC) + timedelta(seconds=20)
    options = replace(OPTIONS, retries=RetryOptions(delays_ms=DELAYS | {"1m": 60_000}))
    async with consuming(service.subscription(), options=options):
        await publisher.publish(ask(0, deadline=deadline))
        await until(lambda: service.endings)
    assert service.endings["q0"].outcome == "expired"
    assert service.calls[0] == 6


async def test_a_restart_knows_which_keys_are_in_retry(publisher, consuming, service):
    """What is published under such a key between stop and start queues behind it."""
    service.down = {"k0"}
    slow = SubscriberOptions(commit_interval_ms=20, retries=RetryOptions(delays_ms=DELAYS | {"5s": 2_000}))
    await publisher.publish(*(ask(number, key=f"k{number % 4}") for number in range(8)))
    async with consuming(service.subscription(), options=slow) as subscriber:
        await until(lambda: len(service.done) == 6 and subscriber.in_flight == 0)
    service.down.clear()
    await publisher.publish(*(ask(number, key=f"k{number % 4}") for number in range(8, 16)))
    async with consuming(service.subscription(), options=slow) as subscriber:
        await until(lambda: len(service.done) == 12 and subscriber.in_flight == 0)
        assert not service.numbers("k0")
        await until(lambda: len(service.done) == 16)
    assert service.numbers("k0") == [0, 4, 8, 12]
    assert all(count == 1 for count in Counter(number for _, number, _ in service.done).values())
