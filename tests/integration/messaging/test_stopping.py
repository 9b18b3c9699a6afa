"""A subscriber that is told to stop stops, whatever it is doing."""

import asyncio
from time import monotonic

from bus_driving import ask, until
from headrace.topics import QUERY_REQUESTED
from headrace_messaging import STOP_EXTRA_S, Bus, Subscriber, SubscriberOptions, Subscription


async def nothing(*_):
    """Handle and end nothing."""
    return ()


async def test_it_stops_while_it_connects(publisher, codec):
    """A bus that takes connections and answers nothing does not hold a stop up."""
    taken = []

    async def listen(_reader, writer):
        taken.append(writer)

    silent = await asyncio.start_server(listen, "127.0.0.1", 0)
    bus = Bus(f"127.0.0.1:{silent.sockets[0].getsockname()[1]}")
    subscription = Subscription(QUERY_REQUESTED, nothing, nothing)
    subscriber = Subscriber(bus, [subscription], group="moderate", publisher=publisher, codec=codec)
    running = asyncio.create_task(subscriber.run())
    await until(lambda: taken)
    subscriber.stop()
    async with asyncio.timeout(5):
        await running
    for writer in taken:
        writer.close()
        await writer.wait_closed()
    silent.close()


async def test_a_stop_takes_no_longer_than_it_says(publisher, consuming):
    """A handler that does not end is waited for as long as the drain allows, and then left."""
    began, options = asyncio.Event(), SubscriberOptions(drain_ms=300)

    async def hang(_event):
        began.set()
        await asyncio.sleep(60)

    await publisher.publish(ask(0))
    async with consuming(Subscription(QUERY_REQUESTED, hang, nothing), options=options) as subscriber:
        await until(began.is_set)
        subscriber.stop()
        told_at = monotonic()
    assert 0.3 <= monotonic() - told_at < 0.3 + STOP_EXTRA_S
