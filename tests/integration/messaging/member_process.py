"""One replica of a service on a real Kafka: notes every delivery in a file of its own; SIGTERM stops it in order.

While the file `outage` lies beside that file, what every fifth key needs is unavailable.
"""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

from headrace.topics import QUERY_REQUESTED
from headrace_errors import Unavailable
from headrace_messaging import Bus, Codec, Publisher, RetryOptions, Subscriber, SubscriberOptions, Subscription
from headrace_messaging.backoff import Backoff

# The last one longer than the outage: it lasts until a killed replica's session is over and another has its share.
DELAYS_MS = {"5s": 300, "1m": 1_000, "10m": 20_000}
FAST = {"commit_interval_ms": 50, "session_timeout_ms": 6_000, "drain_ms": 5_000, "backoff": Backoff(10, 100)}


async def main(bootstrap, log_path, work_s, options):
    """Consume until SIGTERM."""
    bus = Bus(bootstrap)
    codec = Codec(bus, None)
    publisher = Publisher(bus, codec, client_id="member")
    outage = Path(log_path).with_name("outage")
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def handle(event):
        down = int(event.key[1:]) % 5 == 0 and outage.exists()
        at = time.monotonic_ns()  # one clock for all processes of the machine
        line = f"{at} {event.partition} {event.key} {event.payload.question} {'failed' if down else 'done'}\n"
        os.write(log, line.encode())
        if down:
            raise Unavailable("there is an outage")
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
        options=SubscriberOptions(**FAST, **options, retries=RetryOptions(delays_ms=DELAYS_MS)),
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, subscriber.stop)
    await subscriber.run()
    await publisher.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), json.loads(sys.argv[4])))
