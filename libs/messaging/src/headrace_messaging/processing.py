"""One message from delivery to done: the reaction table of headrace_errors, carried out.

It returns only when the effect is complete: the handler's events are acknowledged, or the message is dead-lettered and
its request ended. Which offset that allows to commit is the subscriber's.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, TypeVar

from headrace.topics import topic
from headrace_errors import DeadlineExceeded, HeadraceError, reaction_of
from headrace_telemetry import get_logger
from structlog.contextvars import bound_contextvars

from headrace_messaging.backoff import Abandoned, keep_trying
from headrace_messaging.codec import Codec
from headrace_messaging.dead_letters import Cause, dead_letter
from headrace_messaging.envelope import salvage_headers
from headrace_messaging.event import Ending, Event, Outgoing, Received
from headrace_messaging.metrics import CONSUMED, DEAD_LETTERS, PROCESS_DURATION
from headrace_messaging.publisher import Publisher
from headrace_messaging.subscription import Halted, SubscriberOptions, Subscription
from headrace_messaging.tracing import processing

_log = get_logger()
_FRAMES_MAX = 8
T = TypeVar("T")
Held = Callable[[], bool]


@dataclass(slots=True)
class _Delivery:
    """One message under way; `held` says whether its partition is still ours."""

    received: Received
    watermark: int
    held: Held
    subscription: Subscription
    event: Event[Any] | None = None
    attempts: int = 0
    dead_lettered: bool = False


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
    ) -> None:
        self._subscriptions: Mapping[str, Subscription] = {each.topic: each for each in subscriptions}
        self._group = group
        self._publisher = publisher
        self._codec = codec
        self._options = options
        self._code_version = code_version
        self._bugs: deque[float] = deque()

    async def process(self, received: Received, *, watermark: int, held: Held) -> None:
        """Bring one message to its end. Raises Abandoned when its partition was lost, Halted when too many are bugs."""
        delivery = _Delivery(received, watermark, held, self._subscriptions[received.topic])
        started = monotonic()
        with processing(received, self._group), bound_contextvars(**_ids(received)):
            try:
                outcome, reason = await self._finish(delivery)
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
        labels = {"messaging.destination.name": received.topic, "headrace.outcome": outcome}
        CONSUMED.add(1, labels)
        PROCESS_DURATION.record(duration_s, labels)

    async def _finish(self, delivery: _Delivery) -> tuple[str, str]:
        try:
            outgoing = await self._handle(delivery)
            await self._publish(delivery, outgoing)
        except Abandoned:
            raise
        except Exception as error:
            return await self._give_up(delivery, error)
        return "done", ""

    async def _handle(self, delivery: _Delivery) -> Sequence[Outgoing]:
        until = self._give_up_at(delivery)
        # Until it can be read its deadline is unknown; a claim check may have to wait for its store.
        event = await self._trying(delivery, lambda: self._decode(delivery), "message.waiting", until)
        delivery.event = event
        if until and delivery.subscription.past_deadline == "end":
            if event.envelope.expired(datetime.now(UTC)):
                raise DeadlineExceeded("the deadline had passed before the work began")
            until = event.envelope.deadline or until
        return await self._trying(delivery, lambda: self._call(delivery, event), "message.waiting", until)

    def _give_up_at(self, delivery: _Delivery) -> datetime | None:
        # What consumers keep an inbox for are facts to be booked (usage, audit): there is no request to end instead, so
        # they wait, however long the outage and whatever deadline they inherited.
        if topic(delivery.received.topic).inbox:
            return None
        return datetime.now(UTC) + timedelta(milliseconds=self._options.wait_max_ms)

    async def _decode(self, delivery: _Delivery) -> Event[Any]:
        return await self._codec.decode(delivery.received, watermark=delivery.watermark)

    async def _call(self, delivery: _Delivery, event: Event[Any]) -> Sequence[Outgoing]:
        delivery.attempts += 1
        async with asyncio.timeout(self._options.handler_timeout_ms / 1000):
            return await delivery.subscription.handler(event)

    async def _publish(self, delivery: _Delivery, outgoing: Sequence[Outgoing]) -> None:
        # Without a moment to end: the work is done and must not be done again, so the lane waits for the bus.
        if outgoing:
            await self._trying(delivery, lambda: self._publisher.publish(*outgoing), "publish.waiting", None)

    async def _give_up(self, delivery: _Delivery, error: Exception) -> tuple[str, str]:
        """End a message whose handler failed for good; return the outcome and its reason."""
        reaction, cause = reaction_of(error), Cause.of(error)
        if reaction.kafka == "bug":
            self._count_bug(error)
        if reaction.kafka in ("dead_letter", "bug"):
            await self._dead_letter(delivery, cause)
            ending = Ending(reaction.ending, "dead_lettered", f"{cause.reason}: {cause.detail}")
        elif reaction.kafka in ("wait", "retry"):
            ending = Ending(reaction.ending, "unavailable", cause.detail)
        else:
            ending = Ending(reaction.ending, cause.reason, cause.detail)
        await self._end(delivery, ending)
        return ending.outcome, ending.reason

    async def _end(self, delivery: _Delivery, ending: Ending) -> None:
        event = delivery.event or self._codec.salvage(delivery.received)
        ended = delivery.subscription.ended
        try:
            outgoing = await self._trying(delivery, lambda: ended(event, ending), "ending.waiting", None)
            await self._publish(delivery, outgoing)
        except Abandoned:
            raise
        except Exception as error:
            self._count_bug(error)
            await self._dead_letter(delivery, Cause.of(error))

    async def _dead_letter(self, delivery: _Delivery, cause: Cause) -> None:
        if delivery.dead_lettered:
            return
        event_id = (delivery.event or self._codec.salvage(delivery.received)).envelope.id
        record = await dead_letter(
            delivery.received,
            cause,
            group=self._group,
            event_id=event_id,
            attempts=delivery.attempts,
            code_version=self._code_version,
            blobs=self._codec.blobs,
        )
        # Nothing past this message may be committed before its dead letter is acknowledged: no end to the wait.
        await self._trying(delivery, lambda: self._publisher.send(record), "dead_letter.unwritable", None)
        delivery.dead_lettered = True
        _log.warning("message.dead_lettered", reason=cause.reason, error_class=cause.error_class, detail=cause.detail)
        DEAD_LETTERS.add(1, {"messaging.destination.name": record.topic, "headrace.reason": cause.reason})

    def _count_bug(self, error: Exception) -> None:
        now = monotonic()
        self._bugs.append(now)
        while self._bugs[0] < now - self._options.bugs_window_ms / 1000:
            self._bugs.popleft()
        _log.error("message.bug", error_class=type(error).__name__, where=_where(error))
        if len(self._bugs) > self._options.bugs_max:
            raise Halted(f"{len(self._bugs)} bugs within {self._options.bugs_window_ms} ms") from error

    async def _trying(
        self, delivery: _Delivery, call: Callable[[], Awaitable[T]], what: str, until: datetime | None
    ) -> T:
        def log(error: HeadraceError, tries: int) -> None:
            if tries & (tries - 1) == 0:  # powers of two: an outage is one line now and then, not one a try
                _log.warning(what, reason=error.reason, detail=error.detail, tries=tries)

        return await keep_trying(call, backoff=self._options.backoff, until=until, held=delivery.held, on_wait=log)


def _ids(received: Received) -> dict[str, Any]:
    headers = salvage_headers(received.headers)
    return {
        "topic": received.topic,
        "partition": received.partition,
        "offset": received.offset,
        "message_id": headers.get("ce_id", ""),
        "request_id": headers.get("ce_correlationid") or headers.get("ce_id", ""),
        "tenant": headers.get("ce_tenant", ""),
    }


def _where(error: BaseException) -> list[str]:
    # Places only: an exception's text and its source lines may hold content.
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES_MAX:]
    return [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
