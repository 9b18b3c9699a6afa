"""The outbox: events stored in the transaction of the effect they tell of, to be published after it committed.

An event is encoded once, when it is added: whatever crash makes the relay send it again, it is the same id and the same
bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Table, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace_messaging.codec import Codec
from headrace_messaging.event import Outgoing
from headrace_messaging.outbox_rows import OutboxRow, outbox_table, to_row
from headrace_messaging.relay import Relay, RelayOptions
from headrace_messaging.tracing import sending

__all__ = ["Outbox", "OutboxRow", "Relay", "RelayOptions", "outbox_table"]


class Outbox:
    """Adds events to the table `outbox`, encoded by `codec`."""

    def __init__(self, table: Table, codec: Codec) -> None:
        self._table = table
        self._codec = codec

    async def add(self, connection: AsyncConnection, *outgoing: Outgoing) -> None:
        """Store events in the caller's transaction; they are published if, and only if, it commits."""
        await self.store(connection, [await self.encode(each) for each in outgoing])

    async def encode(self, outgoing: Outgoing) -> OutboxRow:
        """Encode an event before its transaction: for a caller whose transaction stores events of several causes."""
        # The send span belongs here, where the cause is current: the relay only moves bytes, maybe after a restart.
        with sending(outgoing):
            return to_row(await self._codec.encode(outgoing))

    async def store(self, connection: AsyncConnection, rows: Sequence[OutboxRow]) -> None:
        """Store encoded events in the caller's transaction."""
        if rows:
            await connection.execute(insert(self._table), list(rows))
