"""Exactly once onto a real Kafka: each batch of rows in one transaction, with a checkpoint that names them.

The checkpoint is what makes a crash decidable. After any doubt (a kill, a timeout, a commit whose answer is lost) a new
producer of the same transactional id fences the old one off and ends its transaction one way or the other; the last
committed checkpoint then says which rows are on the topics. The relay notes those before it sends more, so there is
never doubt about more than one batch. Readers must read committed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import IllegalOperation, KafkaError
from headrace_errors import Unavailable
from headrace_telemetry import get_logger
from sqlalchemy.engine import Row

from headrace_messaging.event import Bus, Record
from headrace_messaging.metrics import SENT
from headrace_messaging.outbox.carriers import Carried
from headrace_messaging.outbox.rows import to_record
from headrace_messaging.publishing.producers import (
    PublisherLimits,
    give_up,
    noted,
    open_producer,
    partition_of,
    sender_runs,
)

_log = get_logger()
_KEY = b"checkpoint"
_LOOK_BACK_OFFSETS = 64  # of the checkpoint topic; aborted transactions may lie behind the last committed one
_POLL_MS = 100
# A producer that was fenced off or failed between two calls says so by an assertion about its state.
_FAILURES = (KafkaError, IllegalOperation, AssertionError, TimeoutError)


class InTransactions:
    """Carries rows in transactions of `transactional_id`, checkpointed on partition 0 of the topic `checkpoint`.

    No other id may write to that topic: another's open transaction would hide our checkpoint.
    """

    def __init__(
        self, bus: Bus, *, transactional_id: str, checkpoint: str, limits: PublisherLimits | None = None
    ) -> None:
        self._bus = bus
        self._transactional_id = transactional_id
        self._place = TopicPartition(checkpoint, 0)
        self._limits = limits or PublisherLimits()
        self._client: AIOKafkaProducer | None = None

    async def open(self) -> Carried:
        """See the port. Fences off whoever carried under this id before; what they had under way is decided."""
        self._client = await open_producer(
            self._bus.bootstrap,
            client_id=self._transactional_id,
            limits=self._limits,
            transactional_id=self._transactional_id,
        )
        try:
            async with asyncio.timeout(self._limits.send_timeout_ms / 1000):
                return await self._last_checkpoint()
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"{self._place.topic} cannot be read: {type(error).__name__}") from error

    async def carry(self, rows: Sequence[Row[Any]]) -> list[int]:
        """See the port. All rows or none."""
        if not rows:
            return []
        if self._client is None or not sender_runs(self._client):
            raise Unavailable("the transactional producer is not open")
        try:
            # The broker aborts a transaction after a send timeout: give up before it does.
            async with asyncio.timeout(self._limits.send_timeout_ms / 1000 * 0.8):
                await self._transact(self._client, rows)
        except _FAILURES as error:
            raise Unavailable(f"a transaction of {len(rows)} rows failed: {type(error).__name__}") from error
        for row in rows:
            SENT.add(1, {"messaging.destination.name": row.topic})
        return [row.seq for row in rows]

    async def close(self) -> None:
        """See the port. A transaction under way is left to be aborted."""
        client, self._client = self._client, None
        if client is not None:
            await give_up(client, self._limits)

    async def _transact(self, client: AIOKafkaProducer, rows: Sequence[Row[Any]]) -> None:
        sent_at_s = time.time()
        await client.begin_transaction()
        sent = [await _send(client, to_record(row)) for row in rows]
        sent.append(await client.send(self._place.topic, _checkpoint(rows), key=_KEY, partition=self._place.partition))
        # aiokafka commits although a send failed: the commit may begin only when every one is acknowledged.
        for acknowledged in await asyncio.gather(*sent, return_exceptions=True):
            if isinstance(acknowledged, BaseException):
                raise acknowledged
            self._bus.clock.compare(acknowledged, sent_at_s=sent_at_s)
        await client.commit_transaction()

    async def _last_checkpoint(self) -> Carried:
        """Read the last committed checkpoint, from the end backwards."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bus.bootstrap,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        try:
            consumer.assign([self._place])
            beginning = (await consumer.beginning_offsets([self._place]))[self._place]
            end = (await consumer.end_offsets([self._place]))[self._place]
            back, start = _LOOK_BACK_OFFSETS, end
            while start > beginning:
                start = max(beginning, end - back)
                # By number: a seek to the beginning by name can lose to the reset that assign() began.
                consumer.seek(self._place, start)
                if (found := await self._last_before(consumer, end)) is not None:
                    return found
                back *= 8
            return Carried()
        finally:
            await consumer.stop()

    async def _last_before(self, consumer: AIOKafkaConsumer, end: int) -> Carried | None:
        found = None
        while await consumer.position(self._place) < end:
            for records in (await consumer.getmany(self._place, timeout_ms=_POLL_MS)).values():
                for record in records:
                    found = _carried(record.value)
        return found


async def _send(client: AIOKafkaProducer, record: Record) -> asyncio.Future[Any]:
    acknowledged: asyncio.Future[Any] = await client.send(
        record.topic,
        record.value,
        key=record.key or None,
        partition=await partition_of(client, record),
        headers=list(record.headers),
    )
    acknowledged.add_done_callback(noted)  # nobody awaits it where a later send fails at once
    return acknowledged


def _checkpoint(rows: Sequence[Row[Any]]) -> bytes:
    checkpoint = {"rows": [row.seq for row in rows], "added_until_ms": max(row.created_at_ms for row in rows)}
    return json.dumps(checkpoint).encode()


def _carried(checkpoint: bytes) -> Carried:
    read = json.loads(checkpoint)
    return Carried(read["rows"], read["added_until_ms"])
