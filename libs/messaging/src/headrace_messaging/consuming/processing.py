"""One message from delivery to done: the reaction table of headrace_errors, carried out.

It returns only when the effect is complete: the handler's events are acknowledged, or the message waits on a retry
topic, or it is dead-lettered and its request ended. Which offset that allows to commit is the subscriber's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, TypeVar

from headrace.topics import topic
from headrace_errors import DeadlineExceeded, reaction_of
from headrace_telemetry import get_logger, log_context

from headrace_messaging.backoff import Abandoned
from headrace_messaging.codec import Codec
from headrace_messaging.consuming.bugs import BugCount
from headrace_messaging.consuming.delivery import Delivery
from headrace_messaging.consuming.departures import Departures
from headrace_messaging.consuming.partitions import Progress
from headrace_messaging.consuming.retrying import Climbing
from headrace_messaging.consuming.subscription import SubscriberOptions, Subscription
from headrace_messaging.consuming.together import Booking
from headrace_messaging.envelope import salvage_headers
from headrace_messaging.event import Ending, Event, Outgoing, Received
from headrace_messaging.metrics import CONSUMED, PROCESS_DURATION
from headrace_messaging.publishing.publisher import Publisher
from headrace_messaging.retry.dead_letters import Cause
from headrace_messaging.retry.keys import Turn
from headrace_messaging.retry.ladder import Ladder
from headrace_messaging.tracing import processing

_log = get_logger()
_FOLLOWS = Cause("Unavailable", "key_in_retry", "an earlier message of its key is in retry")
T = TypeVar("T")


class Processor:
    """Handles the messages of one consumer group, each by its topic's subscription."""

    def __init__(
        self,
        subscriptions: Sequence[Subscription],
        *,
        group: str,
        publisher: Publisher,
        codec: Codec,
        options: SubscriberOptions,
        code_version: str,
        ladder: Ladder,
    ) -> None:
        self._subscriptions: Mapping[str, Subscription] = {each.topic: each for each in subscriptions}
        self._group = group
        self._codec = codec
        self._options = options
        self._ladder = ladder
        self._climbing = Climbing(ladder, codec.blobs)
        self._departures = Departures(
            group=group,
            publisher=publisher,
            codec=codec,
            backoff=options.backoff,
            code_version=code_version,
            climbing=self._climbing,
        )
        self._booking = Booking(group=group, codec=codec, options=options)
        self._bugs = BugCount(bugs_max=options.bugs_max, window_ms=options.bugs_window_ms)

    async def process(self, record: Received, progress: Progress) -> None:
        """Bring one message to its end. Raises Abandoned when its partition was lost, Halted when too many are bugs."""
        rung = self._ladder.rung(record.topic)
        original = replace(record, topic=rung.source)
        delivery = Delivery(original, rung.level, self._subscriptions[rung.source], progress)
        started = monotonic()
        headers = salvage_headers(record.headers)
        with processing(record, headers, self._group), log_context(**_ids(record, headers)):
            try:
                outcome, reason = await self._finish(record, delivery)
            except Abandoned:
                _log.info("message.abandoned", attempts=delivery.attempts)
                raise
            duration_s = monotonic() - started
            _log.info(
                "message.processed",
                outcome=outcome,
                reason=reason,
                attempt=delivery.attempts,
                duration_ms=round(duration_s * 1000, 1),
            )
        labels = {"messaging.destination.name": record.topic, "headrace.outcome": outcome}
        CONSUMED.add(1, labels)
        PROCESS_DURATION.record(duration_s, labels)

    async def process_together(self, records: Sequence[Received], progress: Progress) -> None:
        """Bring messages of one topic and partition to their end, in as few calls as their subscription allows."""
        together = self._subscriptions[self._ladder.rung(records[0].topic).source].together
        if together and len(records) > 1 and await self._booking.book(together, records, progress):
            return
        for record in records:
            if not progress.current:  # a drain does not wait for all of them
                raise Abandoned
            await self.process(record, progress)

    def together_max(self, name: str) -> int:
        """Return how many messages of a topic may be brought to their end together."""
        subscription = self._subscriptions[self._ladder.rung(name).source]
        return subscription.together_max if subscription.together else 1

    async def _finish(self, record: Received, delivery: Delivery) -> tuple[str, str]:
        try:
            if delivery.level:
                backoff = self._options.backoff
                await delivery.wait_for(lambda: self._restore(record, delivery), "retry.waiting", backoff=backoff)
            outcome = await self._take_turn(delivery)
        except Abandoned:
            raise
        except Exception as error:
            outcome = await self._give_up(delivery, error)
        self._climbing.done(delivery)
        return outcome

    async def _restore(self, record: Received, delivery: Delivery) -> None:
        delivery.received, delivery.attempts = await self._climbing.original(record)

    async def _take_turn(self, delivery: Delivery) -> tuple[str, str]:
        """Handle a message, unless an earlier one of its key is in retry: then it queues behind that one."""
        turn = self._climbing.turn(delivery)
        if turn is Turn.KNOWN:
            return "retried", "known"
        if isinstance(turn, int):
            await self._departures.climb(delivery, turn, 0, _FOLLOWS)  # due with the one before it
            return "followed", _FOLLOWS.reason
        await self._departures.publish(delivery, await self._handle(delivery))
        return "done", ""

    async def _handle(self, delivery: Delivery) -> Sequence[Outgoing]:
        until = self._give_up_at(delivery)
        # Until it can be read its deadline is unknown; a claim check may have to wait for its store.
        event = await self._waiting(delivery, lambda: self._decode(delivery), until)
        delivery.event = event
        if until and delivery.subscription.past_deadline == "end":
            if event.envelope.expired(datetime.now(UTC)):
                raise DeadlineExceeded("the deadline had passed before the work began")
            until = event.envelope.deadline or until
        return await self._waiting(delivery, lambda: self._call(delivery, event), until)

    def _give_up_at(self, delivery: Delivery) -> datetime | None:
        # What consumers keep an inbox for are facts to be booked (usage, audit): there is no request to end instead, so
        # they wait, however long the outage and whatever deadline they inherited.
        if topic(delivery.received.topic).inbox:
            return None
        return datetime.now(UTC) + timedelta(milliseconds=self._options.wait_max_ms)

    async def _decode(self, delivery: Delivery) -> Event[Any]:
        return await self._codec.decode(delivery.received, watermark=delivery.watermark)

    async def _waiting(self, delivery: Delivery, call: Callable[[], Awaitable[T]], until: datetime | None) -> T:
        # What has a ladder climbs it rather than hold up its lane; a permit that is out comes back before that.
        return await delivery.wait_for(
            call,
            "message.waiting",
            backoff=self._options.backoff,
            until=until,
            unavailable_max=self._ladder.tries(delivery.subscription.topic),
        )

    async def _call(self, delivery: Delivery, event: Event[Any]) -> Sequence[Outgoing]:
        delivery.attempts += 1
        async with asyncio.timeout(self._options.handler_timeout_ms / 1000):
            return await delivery.subscription.handler(event)

    async def _give_up(self, delivery: Delivery, error: Exception) -> tuple[str, str]:
        """End a message whose handler failed, or put it up for another try; return the outcome and its reason."""
        reaction, cause = reaction_of(error), Cause.of(error)
        if reaction.kafka == "bug":
            self._bugs.add(error)
        if reaction.kafka == "retry" and self._ladder.levels(delivery.subscription.topic):
            level = self._climbing.next_level(delivery)
            if level is not None and not delivery.over_in(delay_ms := self._ladder.delay_ms(level)):
                await self._departures.climb(delivery, level, delay_ms, cause)
                return "retried", cause.reason
            ending = Ending("expired", "expired", "the deadline passes before the next try")
            if level is None:
                ending = await self._bury(delivery, cause, reaction.ending)
        elif reaction.kafka in ("dead_letter", "bug"):
            ending = await self._bury(delivery, cause, reaction.ending)
        elif reaction.kafka in ("wait", "retry"):
            ending = Ending(reaction.ending, "unavailable", cause.detail)
        else:
            ending = Ending(reaction.ending, cause.reason, cause.detail)
        await self._end(delivery, ending)
        return ending.outcome, ending.reason

    async def _bury(self, delivery: Delivery, cause: Cause, outcome: Any) -> Ending:
        await self._departures.bury(delivery, cause)
        return Ending(outcome, "dead_lettered", f"{cause.reason}: {cause.detail}")

    async def _end(self, delivery: Delivery, ending: Ending) -> None:
        event = delivery.event or self._codec.salvage(delivery.received)
        ended = delivery.subscription.ended
        try:
            backoff = self._options.backoff
            outgoing = await delivery.wait_for(lambda: ended(event, ending), "ending.waiting", backoff=backoff)
            await self._departures.publish(delivery, outgoing)
        except Abandoned:
            raise
        except Exception as error:
            self._bugs.add(error)
            await self._departures.bury(delivery, Cause.of(error))


def _ids(received: Received, headers: Mapping[str, str]) -> dict[str, Any]:
    return {
        "topic": received.topic,
        "partition": received.partition,
        "offset": received.offset,
        "message_id": headers.get("ce_id", ""),
        "request_id": headers.get("ce_correlationid") or headers.get("ce_id", ""),
        "tenant": headers.get("ce_tenant", ""),
    }
