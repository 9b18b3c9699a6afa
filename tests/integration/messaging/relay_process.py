"""A relay that is killed after its first publish: it says so, and then waits to be killed before it marks the row."""

import asyncio
import sys
from pathlib import Path

from headrace_messaging import Bus, Codec, Publisher
from headrace_messaging.outbox import Relay, outbox_table
from headrace_messaging.outbox.carriers import OneByOne
from headrace_messaging.outbox.store import OutboxStore
from headrace_storage import Database
from sqlalchemy import MetaData


class StopsAfterFirst:
    """Publishes one record, and never returns from the send."""

    def __init__(self, publisher):
        self._publisher = publisher

    async def send(self, record):
        """Send and hang."""
        await self._publisher.send(record)
        sys.stdout.write("published\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


async def main():
    """Relay until killed."""
    bus = Bus(sys.argv[1], "g1", embedded=True)
    publisher = Publisher(bus, Codec(bus, None), client_id="relay")
    await publisher.start()
    metadata = MetaData()
    table = outbox_table(metadata)
    database = await Database.open(Path(sys.argv[2]), metadata)
    store = OutboxStore(database, table, generation="g1", keep_sent_ms=60_000, keep_sent_rows=100)
    await Relay(store, OneByOne(StopsAfterFirst(publisher))).run()


asyncio.run(main())
