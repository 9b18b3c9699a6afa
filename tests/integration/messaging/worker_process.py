"""A service of one handler, to be killed: prints a line per handled question, and `idle` when nothing is left."""

import asyncio
import signal
import sys

from headrace.topics import QUERY_ADMITTED, QUERY_REQUESTED, topic
from headrace_messaging import Bus, Codec, Publisher, Subscriber, SubscriberOptions, Subscription, follow


async def handle(event):
    """Work for a moment, then answer."""
    await asyncio.sleep(0.01)
    sys.stdout.write("handled\n")
    sys.stdout.flush()
    return [follow(event, QUERY_ADMITTED, topic(QUERY_ADMITTED).message(), stage="moderate")]


async def ended(_event, _ending):
    """End nothing."""
    return ()


async def main():
    """Consume until SIGTERM."""
    bus = Bus(sys.argv[1], "g1", embedded=True)
    codec = Codec(bus, None)
    publisher = Publisher(bus, codec, client_id="worker")
    await publisher.start()
    subscriber = Subscriber(
        bus,
        [Subscription(QUERY_REQUESTED, handle, ended)],
        group="moderate",
        publisher=publisher,
        codec=codec,
        options=SubscriberOptions(lanes=4, commit_interval_ms=20),
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, subscriber.stop)
    running = asyncio.create_task(subscriber.run())
    while not running.done():
        await asyncio.sleep(0.2)
        if subscriber.ready and subscriber.in_flight == 0 and sum(subscriber.lag().values()) == 0:
            sys.stdout.write("idle\n")
            sys.stdout.flush()
    await running
    await publisher.stop()


asyncio.run(main())
