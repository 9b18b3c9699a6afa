"""Several messages of one partition in one call of their handler, each in its own trace.

Whether that is allowed its subscription says; what a call could not book is the processor's, one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from time import monotonic
from typing import Any

from headrace_errors import HeadraceError
from headrace_telemetry import get_logger

from headrace_messaging.backoff import Abandoned, keep_trying
from headrace_messaging.codec import Codec
from headrace_messaging.consuming.partitions import Progress
from headrace_messaging.consuming.subscription import SubscriberOptions, Together
from headrace_messaging.event import Event, Received
from headrace_messaging.metrics import CONSUMED, PROCESS_DURATION
from headrace_messaging.tracing import processing_among

_log = get_logger()


class Booking:
    """Books messages together for one consumer group."""

    def __init__(self, *, group: str, codec: Codec, options: SubscriberOptions) -> None:
        self._group = group
        self._codec = codec
        self._options = options

    async def book(self, together: Together, records: Sequence[Received], progress: Progress) -> bool:
        """Book messages of one topic and partition; False when they have to be looked at one by one.

        Waits out an outage, for facts are not given up. Raises Abandoned when the partition was lost meanwhile.
        """
        started = monotonic()
        try:
            with ExitStack() as spans:
                events = [self._traced(await self._decode(one, progress), one, len(records), spans) for one in records]
                await keep_trying(
                    lambda: self._call(together, events),
                    backoff=self._options.backoff,
                    held=lambda: progress.current,
                    on_wait=_log_wait,
                )
        except Abandoned:
            raise
        except Exception as error:  # whose fault it is shows when each is handled by itself
            _log.warning("messages.parted", messages=len(records), error=type(error).__name__)
            return False
        self._tell(records[0].topic, len(records), monotonic() - started)
        return True

    async def _decode(self, record: Received, progress: Progress) -> Event[Any]:
        return await self._codec.decode(record, watermark=progress.watermark.position)

    def _traced(self, event: Event[Any], record: Received, count: int, spans: ExitStack) -> Event[Any]:
        # No span can be current for many: what follows from an event belongs to the one that its envelope names.
        parent, state = spans.enter_context(processing_among(record, self._group, count))
        return replace(event, envelope=replace(event.envelope, traceparent=parent, tracestate=state))

    async def _call(self, together: Together, events: Sequence[Event[Any]]) -> None:
        async with asyncio.timeout(self._options.handler_timeout_ms / 1000):
            await together(events)

    def _tell(self, topic: str, count: int, duration_s: float) -> None:
        _log.info("messages.processed", topic=topic, messages=count, duration_ms=round(duration_s * 1000, 1))
        labels = {"messaging.destination.name": topic, "headrace.outcome": "done"}
        CONSUMED.add(count, labels)
        PROCESS_DURATION.record(duration_s, labels)


def _log_wait(error: HeadraceError, tries: int) -> None:
    if tries & (tries - 1) == 0:  # powers of two, as a message that waits by itself
        _log.warning("messages.waiting", reason=error.reason, detail=error.detail, tries=tries)
