"""Usage in the service's outbox: kept in SQL before it is told, so that no stop of anything loses what a model read."""

import asyncio
import uuid
from dataclasses import dataclass, field

from headrace import topics
from headrace_messaging import Outgoing, new_envelope
from headrace_messaging.outbox import Outbox, OutboxRow
from headrace_storage import Database

from headrace_embed.domain import USAGE_STAGE, Usage
from headrace_embed.entrypoints.messages import usage_message

COMMIT_EVENTS_MAX = 64
RELAY_GATHERS_MS = 50  # meter may hear a moment later, and a call need not wait for the relay's transactions


@dataclass(eq=False, slots=True)
class _Kept:
    """An event on its way into the outbox."""

    row: OutboxRow
    committed: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class OutboxUsage:
    """UsageBook on SQL; the relay publishes what it keeps, and again to a new bus.

    Calls that come while a transaction is under way share the next one, so that a commit is not paid for by each.
    """

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox
        self._replica = uuid.uuid4()
        self._waiting: list[_Kept] = []
        self._writer: asyncio.Task[None] | None = None

    async def record(self, usage: Usage) -> None:
        """Keep a query's usage as an event under its own id."""
        envelope = new_envelope(
            topics.USAGE_RECORDED,
            id=usage.id,
            tenant=usage.tenant,
            source=f"/headrace/{USAGE_STAGE}",
            correlation_id=usage.request_id,
        )
        await self.keep(Outgoing(topics.USAGE_RECORDED, usage.tenant, usage_message(usage), envelope))

    async def keep(self, event: Outgoing) -> None:
        """Return once the event is committed; raises what the database raised. Leaving takes nothing back."""
        kept = _Kept(await self._outbox.encode(event))
        self._waiting.append(kept)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all())
        await kept.committed

    async def _write_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:COMMIT_EVENTS_MAX], self._waiting[COMMIT_EVENTS_MAX:]
            try:
                # Nothing is read, so nobody is to be kept out: a key that no other replica has.
                async with self._database.write(f"usage/{self._replica}") as connection:
                    await self._outbox.store(connection, [kept.row for kept in batch])
            except Exception as error:  # each caller gets it
                _resolve(batch, error)
            else:
                _resolve(batch, None)


def _resolve(batch: list[_Kept], error: Exception | None) -> None:
    for kept in batch:
        if kept.committed.done():  # its caller left
            continue
        if error:
            kept.committed.set_exception(error)
        else:
            kept.committed.set_result(None)
