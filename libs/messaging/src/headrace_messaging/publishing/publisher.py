"""Publishing: known topics only, acknowledged by all replicas, idempotent, bounded in size and time.

The client underneath is replaced after an error that leaves a gap in its sequence numbers; what failed is the caller's
to send again, under the same id.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from headrace.topics import derived, topics
from headrace_errors import Unavailable
from headrace_telemetry import get_logger

from headrace_messaging.codec import Codec, require_sendable
from headrace_messaging.event import Bus, Outgoing, Record
from headrace_messaging.metrics import SENT
from headrace_messaging.publishing.committed import CommittedOffsets
from headrace_messaging.publishing.pressure import BusGate
from headrace_messaging.publishing.producers import (
    PublisherLimits,
    close,
    give_up,
    open_producer,
    partition_of,
    sender_runs,
)
from headrace_messaging.tracing import sending

_log = get_logger()


class Publisher:
    """Publishes to one bus; one per process. `start` connects, `stop` flushes and closes.

    `alive` is for liveness: it looks at the client's sender task, whose death no ping would show.
    """

    def __init__(
        self,
        bus: Bus,
        codec: Codec,
        *,
        client_id: str,
        limits: PublisherLimits | None = None,
    ) -> None:
        self._bus = bus
        self._codec = codec
        self._client_id = client_id
        self._limits = limits or PublisherLimits()
        self._known = frozenset(_known_topics())
        self._committed = CommittedOffsets(bus.bootstrap)
        self._gate = BusGate(self._committed.of) if bus.embedded else None
        self._client: AIOKafkaProducer | None = None
        self._opening = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self._started = False

    @property
    def alive(self) -> bool:
        """Whether sends can still succeed: started, and no dead sender task."""
        return self._started and (self._client is None or sender_runs(self._client))

    async def start(self) -> None:
        """Connect; Unavailable when the bus does not answer."""
        self._started = True
        await self._open()

    async def stop(self) -> None:
        """Flush what is under way, within a bound, and close."""
        self._started = False
        client, self._client = self._client, None
        if client is not None:
            await close(client, self._limits)
        await asyncio.gather(*self._closing)
        await self._committed.close()

    async def publish(self, *outgoing: Outgoing) -> None:
        """Publish events, in order per topic and key, and return when all are acknowledged.

        Unavailable when one is not; others may be. Publishing all of them again is harmless: their ids stay.
        """
        chains: dict[tuple[str, str], list[Outgoing]] = {}
        for each in outgoing:
            chains.setdefault((each.topic, each.key), []).append(each)
        results = await asyncio.gather(*map(self._publish_in_order, chains.values()), return_exceptions=True)
        for result in results:
            if result is not None:
                raise result

    async def send(self, record: Record, *, partition: int | None = None) -> None:
        """Send encoded bytes as they are and return when they are acknowledged; Unavailable when they are not.

        The partition is the key's unless one is named. KeyError for an undeclared topic, InvalidMessage for a record
        over the size limit.
        """
        if record.topic not in self._known:
            raise KeyError(f"unknown topic {record.topic!r}: declare it in proto/topics.yaml")
        require_sendable(record)
        client = await self._open()
        if partition is None:
            partition = await self._partition(client, record)
        if self._gate is None:
            await self._send(client, record, partition)
        else:
            await self._send_admitted(self._gate, client, record, partition)
        SENT.add(1, {"messaging.destination.name": record.topic})

    async def _publish_in_order(self, chain: list[Outgoing]) -> None:
        # One key of one topic: the next is sent only after the one before is acknowledged.
        for outgoing in chain:
            with sending(outgoing):
                await self.send(await self._codec.encode(outgoing))

    async def _send_admitted(self, gate: BusGate, client: AIOKafkaProducer, record: Record, partition: int) -> None:
        size_bytes, offset = record.size_bytes, None
        await gate.admit(record.topic, partition, size_bytes)
        try:
            offset = await self._send(client, record, partition)
        finally:
            gate.settle(record.topic, partition, size_bytes, offset)

    async def _send(self, client: AIOKafkaProducer, record: Record, partition: int) -> int:
        sent_at_s = time.time()
        try:
            async with asyncio.timeout(self._limits.send_timeout_ms / 1000):
                acknowledged = await client.send(
                    record.topic,
                    record.value,
                    key=record.key or None,
                    partition=partition,
                    headers=list(record.headers),
                )
                appended = await acknowledged
                if not self._bus.embedded:  # whose broker is of this machine, and makes times up
                    self._bus.clock.compare(appended, sent_at_s=sent_at_s)
                return int(appended.offset)
        except TimeoutError:
            self._give_up(client, "timeout")
            raise Unavailable(f"no acknowledgement from {record.topic}", reason="bus_timeout") from None
        except KafkaError as error:
            if not error.retriable:
                self._give_up(client, type(error).__name__)
            raise Unavailable(f"{record.topic} did not take a record: {type(error).__name__}") from error

    async def _partition(self, client: AIOKafkaProducer, record: Record) -> int:
        try:
            async with asyncio.timeout(self._limits.send_timeout_ms / 1000):
                return await partition_of(client, record)
        except (TimeoutError, KafkaError) as error:
            raise Unavailable(f"no partitions of {record.topic}: {type(error).__name__}") from error

    async def _open(self) -> AIOKafkaProducer:
        """Return the client, a new one where there is none or its sender is dead."""
        if self._client is not None and sender_runs(self._client):
            return self._client
        async with self._opening:
            if self._client is not None:
                if sender_runs(self._client):
                    return self._client
                self._give_up(self._client, "sender_dead")
            if not self._started:
                raise Unavailable("the publisher is stopped")
            self._client = await open_producer(self._bus.bootstrap, client_id=self._client_id, limits=self._limits)
            return self._client

    def _give_up(self, client: AIOKafkaProducer, why: str) -> None:
        """Replace the client at the next send: its sequence numbers have a gap, or it does not get through."""
        if self._client is not client:
            return
        self._client = None
        _log.warning("publisher.replaced", why=why)
        closing = asyncio.create_task(give_up(client, self._limits))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


def _known_topics() -> Iterator[str]:
    for topic in topics().values():
        yield topic.name
        for group in topic.consumers:
            yield topic.dead_letters(group)
            yield from (topic.retries(group, delay) for delay in derived().retry_delays_ms)
