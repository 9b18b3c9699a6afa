"""One replica of a service on a real Kafka: notes every delivery in a file of its own; SIGTERM stops it in order."""

import asyncio
import json
import os
import signal
import sys
import time

from headrace.topics import QUERY_REQUESTED
from headrace_messaging import Bus, Codec, Publisher, Subscriber, SubscriberOptions, Subscription
from headrace_messaging.backoff import Backoff

FAST = {"commit_interval_ms": 50, "session_timeout_ms": 6_000, "drain_ms": 5_000, "backoff": Backoff(10, 100)}


async def main(bootstrap, log_path, work_s, options):
    """Consume until SIGTERM."""
    bus = Bus(bootstrap)
    codec = Codec(bus, None)
    publisher = Publisher(bus, codec, client_id="member")
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def handle(event):
        at = time.monotonic_ns()  # one clock for all processes of the machine
        os.write(log, f"{at} {event.partition} {event.key} {event.payload.question}\n".encode())
        await asyncio.sleep(work_s)
        return ()

    async def ended(_event, _ending):
        return ()

    await publisher.start()
    subscriber = Subscriber(
        bus,
        [Subscription(QUERY_REQUESTED, handle, ended)],
        group="moderate",
        publisher=publisher,
        codec=codec,
        options=SubscriberOptions(**FAST, **options),
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, subscriber.stop)
    await subscriber.run()
    await publisher.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), json.loads(sys.argv[4])))
