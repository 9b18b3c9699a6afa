"""The reliable subscriber: nothing is committed before its effect is done, and order per key is kept.

Intake fetches and hands each record to the lane of its key; lanes run handlers; commits follow the contiguous watermark
of each partition. A semaphore bounds what is in flight: at the bound intake stops, while heartbeats go on. What happens
to one message is processing.py's.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from time import monotonic
from typing import Final

from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from headrace_telemetry import get_logger

from headrace_messaging.backoff import Abandoned
from headrace_messaging.codec import Codec
from headrace_messaging.consuming.commits import COMMIT_TIMEOUT_S
from headrace_messaging.consuming.consumer import LEAVE_TIMEOUT_S, GroupConsumer
from headrace_messaging.consuming.gate import Gate
from headrace_messaging.consuming.partitions import Assignment, Place, Progress
from headrace_messaging.consuming.processing import Processor
from headrace_messaging.consuming.subscription import Halted, StoredOffsets, SubscriberOptions, Subscription
from headrace_messaging.consuming.watermark import OffsetGap
from headrace_messaging.event import Bus, Received
from headrace_messaging.metrics import LAG
from headrace_messaging.publishing.publisher import Publisher
from headrace_messaging.retry.ladder import Ladder
from headrace_messaging.retry.parcels import order_key

_log = get_logger()
_POSITIONS_WAIT_S = 0.01
STOP_EXTRA_S: Final = COMMIT_TIMEOUT_S + LEAVE_TIMEOUT_S + 2
"""How much longer than its drain a stop may take: the last commit, leaving the group, cancelling what still runs."""
_Lane = asyncio.Queue[tuple[Received, Progress]]


class Subscriber:
    """Consumes topics as one group and runs their handlers. Call `run` once; `stop` makes it drain and return."""

    def __init__(
        self,
        bus: Bus,
        subscriptions: Sequence[Subscription],
        *,
        group: str,
        publisher: Publisher,
        codec: Codec,
        options: SubscriberOptions | None = None,
        offsets: StoredOffsets | None = None,
        code_version: str = "",
    ) -> None:
        self._options = options or SubscriberOptions()
        self._assignment = Assignment()
        self._bus = bus
        self._ladder = Ladder((each.topic for each in subscriptions), group=group, options=self._options.retries)
        self._gate = Gate(self._ladder, self._options, bus.clock)
        self._group = group
        self._offsets = offsets
        self._processor = Processor(
            subscriptions,
            group=group,
            publisher=publisher,
            codec=codec,
            options=self._options,
            code_version=code_version,
            ladder=self._ladder,
        )
        self._lanes: list[_Lane] = [asyncio.Queue() for _ in range(self._options.lanes)]
        self._permits = asyncio.Semaphore(self._options.in_flight_max)
        self._in_flight = 0
        self._stopping = asyncio.Event()
        self._running = False
        self._polled_at = monotonic()
        self._consumer: GroupConsumer | None = None

    @property
    def ready(self) -> bool:
        """Whether it takes the messages of its share; where there are more replicas than partitions, that is none."""
        return self._running and self._assignment.known and not self._stopping.is_set()

    @property
    def alive(self) -> bool:
        """Whether it runs and keeps fetching, or rightly does not because all permits are out."""
        polled = monotonic() - self._polled_at < self._options.fetch_stalled_ms / 1000
        return self._running and (polled or self._permits.locked())

    @property
    def in_flight(self) -> int:
        """Messages fetched and not done."""
        return self._in_flight

    def lag(self) -> dict[Place, int]:
        """Return, per topic and partition that is ours, how many offsets lie between what is done and the end."""
        if self._consumer is None:
            return {}
        end = self._consumer.end
        return {each.place: max(end(each) - each.watermark.position, 0) for each in self._assignment}

    def stop(self) -> None:
        """Ask `run` to stop fetching, let running handlers finish, commit and return. Idempotent."""
        self._stopping.set()

    async def run(self) -> None:
        """Consume until `stop`; raises Halted where going on would lose or break more."""
        self._consumer = consumer = GroupConsumer(
            self._bus,
            self._ladder,
            group=self._group,
            options=self._options,
            offsets=self._offsets,
            assignment=self._assignment,
        )
        tasks: list[asyncio.Task[None]] = []
        try:
            if not await self._opened(consumer):
                return
            self._running = True
            _log.info(
                "subscriber.started", group=self._group, topics=self._ladder.topics, partitions=len(self._assignment)
            )
            tasks = [asyncio.create_task(self._work(lane)) for lane in self._lanes]
            tasks += [asyncio.create_task(self._commit_regularly(consumer))]
            tasks += [asyncio.create_task(self._take_in(consumer)), asyncio.create_task(self._told_to_stop())]
            # Being told to stop is the only good end; anything else that ends has failed.
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._running = False
            await consumer.drain()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await consumer.close()
            _log.info("subscriber.stopped", group=self._group)

    async def _opened(self, consumer: GroupConsumer) -> bool:
        """Open, unless told to stop meanwhile: to join a group may take a minute."""
        opening, stopping = asyncio.create_task(consumer.open()), asyncio.create_task(self._told_to_stop())
        try:
            await asyncio.wait([opening, stopping], return_when=asyncio.FIRST_COMPLETED)
            if opening.done():
                opening.result()
            return opening.done()
        finally:
            opening.cancel()
            stopping.cancel()
            await asyncio.gather(opening, stopping, return_exceptions=True)

    async def _told_to_stop(self) -> None:
        await self._stopping.wait()

    async def _take_in(self, consumer: GroupConsumer) -> None:
        failures = 0
        while not self._stopping.is_set():
            epoch = self._assignment.epoch
            self._polled_at = monotonic()
            try:
                fetched = await consumer.fetch()
                for place, records in fetched.items():
                    await self._enqueue(consumer, place, records, epoch)
            except (OffsetGap, OffsetOutOfRangeError) as error:
                raise Halted(f"records are gone from the bus before they were read: {error}") from error
            except NoOffsetForPartitionError:
                await asyncio.sleep(_POSITIONS_WAIT_S)  # assigned a moment ago; its positions are being read
            except KafkaError as error:
                failures += 1
                _log.warning("fetch.failed", error=type(error).__name__, failures=failures)
                await asyncio.sleep(self._options.backoff.wait_s(failures))
            else:
                failures = 0

    async def _enqueue(self, consumer: GroupConsumer, place: Place, records: list[Received], epoch: int) -> None:
        for record in records:
            await self._permits.acquire()
            # A rebalance may have happened in any await since before the fetch: then these records are another
            # assignment's, and what this assignment has not delivered yet is to be read again.
            progress = self._assignment.get(place)
            if progress is None or not progress.current or self._assignment.epoch != epoch or self._stopping.is_set():
                self._permits.release()
                consumer.rewind(place)
                return
            if clear := self._gate.obstacle(record, progress):
                self._permits.release()
                consumer.hold(place, until=clear)
                return
            if not progress.watermark.deliver(record.offset):
                self._permits.release()
                continue
            self._in_flight += 1
            self._lane_of(record).put_nowait((record, progress))

    def _lane_of(self, record: Received) -> _Lane:
        # A message without a key keeps its partition's order, and what is handled together comes from one partition.
        key = b"" if self._processor.together_max(record.topic) > 1 else order_key(record.key)
        key = key or f"{self._ladder.rung(record.topic).source}/{record.partition}".encode()
        return self._lanes[zlib.crc32(key) % len(self._lanes)]

    async def _work(self, lane: _Lane) -> None:
        while True:
            taken = [await lane.get()]
            while not lane.empty() and len(taken) < self._processor.together_max(taken[0][0].topic):
                taken.append(lane.get_nowait())
            for progress, records in groupby(taken, key=itemgetter(1)):
                await self._process([record for record, _ in records], progress)

    async def _process(self, records: list[Received], progress: Progress) -> None:
        """Bring messages of one partition to their end; nothing of one that is no longer ours."""
        progress.begin()
        try:
            if progress.current:
                await self._processor.process_together(records, progress)
                for record in records:
                    progress.watermark.complete(record.offset)
        except Abandoned:
            pass  # whoever has the partition now reads the messages again
        finally:
            progress.end()
            self._in_flight -= len(records)
            for _ in records:
                self._permits.release()

    async def _commit_regularly(self, consumer: GroupConsumer) -> None:
        while True:
            await asyncio.sleep(self._options.commit_interval_ms / 1000)
            await consumer.commit(progress for progress in self._assignment if progress.current)
            self._record_lag()

    def _record_lag(self) -> None:
        behind: dict[str, int] = dict.fromkeys(self._ladder.topics, 0)
        for (topic, _), lag in self.lag().items():
            behind[topic] += lag
        for topic, lag in behind.items():
            LAG.set(lag, {"messaging.destination.name": topic, "messaging.consumer.group.name": self._group})
