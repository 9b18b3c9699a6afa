"""The inbox: which events had their effect, and from where to read on, stored in the transaction of that effect.

It makes an effect happen once per tenant and event id, whatever is delivered twice: by a crash, a rebalance, or a
producer. An id is its tenant's own: another tenant that chooses the same one takes nothing away.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.message import Message
from headrace_storage import insert_all_new, insert_new
from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table, delete, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace_messaging.backoff import Backoff, keep_trying
from headrace_messaging.event import Event
from headrace_messaging.transactions import Transactions

_PRUNE_EVERY_EVENTS = 1_000
_LOAD_WAIT_S = 20


@dataclass(frozen=True, slots=True)
class InboxTables:
    """The tables of an inbox: the events that had their effect, and the offsets to read on from."""

    events: Table
    offsets: Table


def inbox_tables(metadata: MetaData) -> InboxTables:
    """Declare the inbox's tables in a service's metadata."""
    events = Table(
        "inbox_events",
        metadata,
        Column("tenant", String(255), primary_key=True),
        Column("event_id", String(255), primary_key=True),
        Column("accepted_at_ms", BigInteger, nullable=False, index=True),
    )
    offsets = Table(
        "inbox_offsets",
        metadata,
        Column("generation", String(64), primary_key=True),
        Column("topic", String(255), primary_key=True),
        Column("partition", Integer, primary_key=True),
        Column("next_offset", BigInteger, nullable=False),
    )
    return InboxTables(events, offsets)


class Inbox:
    """The inbox of one service on one bus generation. It is the StoredOffsets of the service's subscriber.

    Ids are kept for `keep_ms`, which must exceed the time within which a producer may send an event again.
    """

    def __init__(
        self, database: Transactions, tables: InboxTables, *, generation: str, keep_ms: int = 30 * 24 * 3_600_000
    ) -> None:
        self._database = database
        self._tables = tables
        self._generation = generation
        self._keep_ms = keep_ms
        self._accepted = 0

    async def accept(self, connection: AsyncConnection, event: Event[Message]) -> bool:
        """Say, in the caller's transaction, whether the event is new; if not, its effect must not happen again.

        Where another replica is just taking the same event in, this waits for how that ends.
        """
        return bool(await self.accept_all(connection, [event]))

    async def accept_all(self, connection: AsyncConnection, events: Sequence[Event[Message]]) -> list[Event[Any]]:
        """Return, in the caller's transaction, those events of one partition that are new, in order and each once.

        The effect of the others must not happen again. They are in order of their offsets, as they were delivered.
        """
        now_ms = int(time.time() * 1000)
        first = {(each.envelope.tenant, each.envelope.id): each for each in reversed(events)}
        # One order for all who take in the same events: two transactions never wait for each other.
        rows = [{"tenant": tenant, "event_id": id_, "accepted_at_ms": now_ms} for tenant, id_ in sorted(first)]
        new = await insert_all_new(connection, self._tables.events, rows)
        await self._store_offset(connection, events)
        await self._prune(connection, now_ms, len(events))
        return sorted((first[key] for key in new), key=lambda event: event.offset)

    async def load(self, topic: str, partition: int) -> int | None:
        """Return the offset to read from; None where nothing is stored for this bus generation."""
        # A database that restarts must not cost the service its assignment.
        until = datetime.now(UTC) + timedelta(seconds=_LOAD_WAIT_S)
        return await keep_trying(lambda: self._load(topic, partition), backoff=Backoff(), until=until)

    async def store(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Store where partitions are done up to, apart from any effect; never moves back. Unavailable on an outage."""
        async with self._database.write(
            *(f"inbox/{topic}/{partition}" for topic, partition in positions)
        ) as connection:
            for (topic, partition), next_offset in positions.items():
                await self._advance(connection, topic, partition, next_offset)

    async def _load(self, topic: str, partition: int) -> int | None:
        offsets = self._tables.offsets
        async with self._database.read() as connection:
            found = await connection.scalar(select(offsets.c.next_offset).where(*self._place(topic, partition)))
        return None if found is None else int(found)

    async def _store_offset(self, connection: AsyncConnection, events: Sequence[Event[Message]]) -> None:
        # Events of one partition finish in any order: only what lies before the watermark is known to be done, and what
        # follows on it without a gap. What is delivered again from there is recognised by its id.
        next_offset = events[0].watermark
        for event in events:
            next_offset += event.offset == next_offset
        await self._advance(connection, events[0].topic, events[0].partition, next_offset)

    async def _advance(self, connection: AsyncConnection, topic: str, partition: int, next_offset: int) -> None:
        offsets = self._tables.offsets
        place = self._place(topic, partition)
        # While another transaction moves the offset, this one leaves it alone rather than wait: a later event will.
        key = [offsets.c.generation, offsets.c.topic, offsets.c.partition]
        behind = select(*key).where(*place, offsets.c.next_offset < next_offset).with_for_update(skip_locked=True)
        advanced = update(offsets).where(tuple_(*key).in_(behind)).values(next_offset=next_offset)
        if (await connection.execute(advanced)).rowcount or await connection.scalar(select(key[2]).where(*place)):
            return
        row = dict(zip(offsets.c.keys(), (self._generation, topic, partition, next_offset), strict=True))
        await insert_new(connection, offsets, row)

    async def _prune(self, connection: AsyncConnection, now_ms: int, accepted: int) -> None:
        self._accepted += accepted
        if self._accepted >= _PRUNE_EVERY_EVENTS:
            self._accepted = 0
            events = self._tables.events
            await connection.execute(delete(events).where(events.c.accepted_at_ms < now_ms - self._keep_ms))

    def _place(self, topic: str, partition: int) -> tuple[Any, ...]:
        columns = self._tables.offsets.c
        return columns.generation == self._generation, columns.topic == topic, columns.partition == partition
