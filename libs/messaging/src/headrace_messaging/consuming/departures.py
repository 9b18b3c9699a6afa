"""What leaves a subscriber, each acknowledged before its message counts as done: events, retries and dead letters.

There is no end to the wait for an acknowledgement. What waits to be retried or dead-lettered blocks its partition.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from headrace.topics import topic
from headrace_errors import Unavailable
from headrace_telemetry import get_logger

from headrace_messaging.backoff import Backoff
from headrace_messaging.codec import Codec
from headrace_messaging.consuming.delivery import Delivery
from headrace_messaging.consuming.retrying import Climbing
from headrace_messaging.event import Outgoing
from headrace_messaging.metrics import BLOCKED, DEAD_LETTERS, RETRIES
from headrace_messaging.publishing.publisher import Publisher
from headrace_messaging.retry.dead_letters import Cause, dead_letter

_log = get_logger()


class Departures:
    """Sends for one consumer group; raises Abandoned when a delivery's partition is lost meanwhile."""

    def __init__(
        self,
        *,
        group: str,
        publisher: Publisher,
        codec: Codec,
        backoff: Backoff,
        code_version: str,
        climbing: Climbing,
    ) -> None:
        self._group = group
        self._publisher = publisher
        self._codec = codec
        self._backoff = backoff
        self._code_version = code_version
        self._climbing = climbing

    async def publish(self, delivery: Delivery, outgoing: Sequence[Outgoing]) -> None:
        """Publish what a handler returned: its work must not be done again, so the lane waits for the bus."""
        if outgoing:
            await delivery.wait_for(
                lambda: self._publisher.publish(*outgoing), "publish.waiting", backoff=self._backoff
            )

    async def climb(self, delivery: Delivery, level: int, delay_ms: int, cause: Cause) -> None:
        """Put a message on the retry topic of a level, in the partition of its source, and remember it there."""
        event_id, to = self._event_id(delivery), self._climbing.topic(delivery, level)

        async def send() -> None:
            record = await self._climbing.record(delivery, level, event_id=event_id, delay_ms=delay_ms, cause=cause)
            await self._publisher.send(record, partition=delivery.received.partition)

        await self._blocking(delivery, to, send, "retry.unwritable")
        self._climbing.entered(delivery, level)
        RETRIES.add(1, {"messaging.destination.name": to, "headrace.reason": cause.reason})

    async def bury(self, delivery: Delivery, cause: Cause) -> None:
        """Write a message's dead letter, once."""
        if delivery.dead_lettered:
            return
        event_id, to = self._event_id(delivery), topic(delivery.received.topic).dead_letters(self._group)

        async def send() -> None:
            record = await dead_letter(
                delivery.received,
                cause,
                group=self._group,
                event_id=event_id,
                attempts=delivery.attempts,
                code_version=self._code_version,
                blobs=self._codec.blobs,
            )
            await self._publisher.send(record)

        await self._blocking(delivery, to, send, "dead_letter.unwritable")
        delivery.dead_lettered = True
        _log.warning("message.dead_lettered", reason=cause.reason, error_class=cause.error_class, detail=cause.detail)
        DEAD_LETTERS.add(1, {"messaging.destination.name": to, "headrace.reason": cause.reason})

    async def _blocking(self, delivery: Delivery, to: str, send: Callable[[], Awaitable[None]], what: str) -> None:
        try:
            await send()
        except Unavailable:
            delivery.progress.blocked += 1
            BLOCKED.add(1, {"messaging.destination.name": to})
            try:
                await delivery.wait_for(send, what, backoff=self._backoff)
            finally:
                delivery.progress.blocked -= 1
                BLOCKED.add(-1, {"messaging.destination.name": to})

    def _event_id(self, delivery: Delivery) -> str:
        return (delivery.event or self._codec.salvage(delivery.received)).envelope.id
