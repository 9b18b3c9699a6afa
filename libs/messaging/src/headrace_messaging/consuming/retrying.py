"""The way of a message up the ladder: written to a retry topic, recognised there, and kept in the order of its key.

Whether a message is to be tried again is processing's to say.
"""

from __future__ import annotations

from headrace_errors import InvalidMessage

from headrace_messaging.codec import Blobs
from headrace_messaging.consuming.delivery import Delivery
from headrace_messaging.event import Received, Record
from headrace_messaging.retry.dead_letters import Cause
from headrace_messaging.retry.keys import Turn
from headrace_messaging.retry.ladder import PREFIX, Ladder
from headrace_messaging.retry.parcels import facts_of, pack, unpack


class Climbing:
    """Makes, reads and remembers the retries of one group."""

    def __init__(self, ladder: Ladder, blobs: Blobs | None) -> None:
        self._ladder = ladder
        self._blobs = blobs

    async def original(self, record: Received) -> tuple[Received, int]:
        """Return what a record of a retry topic carries, and its attempts so far.

        InvalidMessage when no replica of ours wrote it, Unavailable when its bytes cannot be had now.
        """
        carried = await unpack(record, prefix=PREFIX, blobs=self._blobs)
        if (carried.topic, carried.partition) != (self._ladder.rung(record.topic).source, record.partition):
            raise InvalidMessage("the retry is of another topic or partition", reason="origin_malformed")
        attempts = facts_of(record.headers, prefix=PREFIX).get("attempt", "")
        return carried, int(attempts) if attempts.isdecimal() else 0

    def next_level(self, delivery: Delivery) -> int | None:
        """Return the level after a delivery's; None at the end of the ladder, or where there is none."""
        level = delivery.level + 1
        return level if level in self._ladder.levels(delivery.subscription.topic) else None

    def turn(self, delivery: Delivery) -> Turn | int:
        """Say whether a delivery may be handled; a number is the level at which it has to queue behind its key."""
        if not delivery.key:
            return Turn.HANDLE
        return delivery.progress.keys.turn(delivery.key, delivery.received.offset, delivery.level)

    async def record(self, delivery: Delivery, level: int, *, event_id: str, delay_ms: int, cause: Cause) -> Record:
        """Make the record that carries a delivery to a level."""
        facts = {
            "attempt": str(delivery.attempts),
            "delay_ms": str(delay_ms),
            "error_class": cause.error_class,
            "reason": cause.reason,
            "event_id": event_id,
        }
        to = self.topic(delivery, level)
        return await pack(delivery.received, facts, prefix=PREFIX, to=to, blobs=self._blobs)

    def topic(self, delivery: Delivery, level: int) -> str:
        """Name the retry topic of a level."""
        return self._ladder.name(delivery.subscription.topic, level)

    def entered(self, delivery: Delivery, level: int) -> None:
        """Take note that a copy of a delivery is acknowledged on a level."""
        if delivery.key:
            delivery.progress.keys.enter(delivery.key, delivery.received.offset, level)

    def done(self, delivery: Delivery) -> None:
        """Take note that the copy that came up is done with, be it handled or carried on."""
        if delivery.key and delivery.level:
            delivery.progress.keys.leave(delivery.key, delivery.received.offset, delivery.level)
