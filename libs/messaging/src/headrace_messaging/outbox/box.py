"""The outbox: events stored in the transaction of the effect they tell of, to be published after it committed.

An event is encoded once, when it is added: whatever crash makes the relay send it again, it is the same id and the same
bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.topics import outbox_checkpoint
from headrace_storage import insert_all
from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace_messaging.codec import Codec, require_sendable
from headrace_messaging.event import Bus, Outgoing
from headrace_messaging.outbox.carriers import OneByOne, Sender
from headrace_messaging.outbox.lease import Lease, LeaseTimes
from headrace_messaging.outbox.relay import Relay, RelayOptions
from headrace_messaging.outbox.rows import SEQ_MAX, OutboxRow, numbered, to_row
from headrace_messaging.outbox.store import OutboxStore
from headrace_messaging.outbox.transactional import InTransactions
from headrace_messaging.tracing import sending
from headrace_messaging.transactions import Transactions

KEEP_SENT_MS = 24 * 3_600_000
KEEP_SENT_ROWS = 100_000


class Outbox:
    """Adds events to the table `outbox`, encoded by `codec`."""

    def __init__(self, table: Table, codec: Codec) -> None:
        self._table = table
        self._codec = codec
        self.bus_forgets = codec.bus.embedded
        """Whether what was published may be gone, so that a cause that comes again must be answered again.

        A bus that persists has it, or the outbox still does: there a repeat would only be a duplicate.
        """

    async def add(self, connection: AsyncConnection, *outgoing: Outgoing) -> None:
        """Store events in the caller's transaction; they are published if, and only if, it commits.

        InvalidMessage for one that no bus takes: said here, it fails its own message and holds up no other.
        """
        await self.store(connection, [await self.encode(each) for each in outgoing])

    async def encode(self, outgoing: Outgoing) -> OutboxRow:
        """Encode an event before its transaction: for a caller whose transaction stores events of several causes."""
        # The send span belongs here, where the cause is current: the relay only moves bytes, maybe after a restart.
        with sending(outgoing):
            record = await self._codec.encode(outgoing)
        require_sendable(numbered(record, SEQ_MAX))  # as it will be sent: what is too large then holds up all others
        return to_row(record)

    async def store(self, connection: AsyncConnection, rows: Sequence[OutboxRow]) -> None:
        """Store encoded events in the caller's transaction."""
        await insert_all(connection, self._table, rows)


def relay_of(
    bus: Bus,
    database: Transactions,
    table: Table,
    sender: Sender,
    *,
    leases: Table,
    service: str,
    instance: str,
    options: RelayOptions | None = None,
    lease_times: LeaseTimes | None = None,
) -> Relay:
    """Return the relay of a service's outbox as the bus allows: at least once when embedded, else exactly once.

    `instance` names this replica among those of the service. A bus that forgets gets old rows again, so they are kept;
    on a real Kafka the topic is the record, and a row goes as soon as it is there.
    """
    keep = (KEEP_SENT_MS, KEEP_SENT_ROWS) if bus.embedded else (0, 0)
    store = OutboxStore(database, table, generation=bus.generation, keep_sent_ms=keep[0], keep_sent_rows=keep[1])
    if bus.embedded:
        return Relay(store, OneByOne(sender), options=options)
    name = f"headrace.{service}.outbox"
    carrier = InTransactions(bus, transactional_id=name, checkpoint=outbox_checkpoint(service))
    lease = Lease(database, leases, name, owner=instance, times=lease_times)
    return Relay(store, carrier, lease=lease, options=options)
