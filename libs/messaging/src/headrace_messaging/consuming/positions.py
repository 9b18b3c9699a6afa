"""Where to begin in partitions just assigned: stored or committed offsets, and the keys that are in retry there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from headrace_errors import Unavailable
from headrace_telemetry import get_logger

from headrace_messaging.consuming.partitions import NEVER_COMMITTED, Place, Progress
from headrace_messaging.consuming.ranges import read_ranges
from headrace_messaging.consuming.subscription import StoredOffsets
from headrace_messaging.event import Bus
from headrace_messaging.retry.keys import KeysInRetry
from headrace_messaging.retry.ladder import Ladder, source_offset
from headrace_messaging.retry.parcels import order_key

_log = get_logger()


class Positions:
    """Finds positions for one consumer. They come from `offsets` where a service keeps its own, else from the group."""

    def __init__(self, client: AIOKafkaConsumer, bus: Bus, ladder: Ladder, offsets: StoredOffsets | None) -> None:
        self._client = client
        self._bus = bus
        self._ladder = ladder
        self._offsets = offsets

    async def of(self, places: Sequence[TopicPartition]) -> list[Progress]:
        """Return where each partition begins, with the keys that its retry topics hold; Unavailable on an outage.

        ValueError where the partitions of retry topics do not come with those of their source.
        """
        keys = self._families(places)
        try:
            ends = await self._client.end_offsets(places) if places else {}
            started = await asyncio.gather(*(self._progress(place, ends[place], keys) for place in places))
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"no positions: {type(error).__name__}") from error
        await self._find_keys(started)
        return started

    def _families(self, places: Iterable[TopicPartition]) -> Mapping[Place, KeysInRetry]:
        # Equal partition counts and the range assignor give one member a source partition and its retry partitions.
        sources = {(self._ladder.rung(place.topic).source, place.partition) for place in places}
        missing = sources - {(place.topic, place.partition) for place in places}
        if missing:
            raise ValueError(f"retry topics were assigned without their sources {sorted(missing)}: unequal partitions?")
        return {source: KeysInRetry() for source in sources}

    async def _progress(self, place: TopicPartition, end: int, keys: Mapping[Place, KeysInRetry]) -> Progress:
        committed = await self._client.committed(place)
        stored = committed if self._offsets is None else await self._offsets.load(place.topic, place.partition)
        position = await self._beginning(place) if stored is None else stored
        return Progress(
            (place.topic, place.partition),
            position,
            end,
            committed=NEVER_COMMITTED if committed is None else committed,
            dense=self._bus.embedded,
            keys=keys[self._ladder.rung(place.topic).source, place.partition],
        )

    async def _beginning(self, place: TopicPartition) -> int:
        if self._bus.embedded:
            return 0  # not where its log begins: if that is later, records are gone and the gap must show
        beginnings: Mapping[TopicPartition, int] = await self._client.beginning_offsets([place])
        return beginnings[place]

    async def _find_keys(self, started: Iterable[Progress]) -> None:
        waiting = {progress.place: progress for progress in started if self._ladder.rung(progress.place[0]).level}
        ranges = {place: (each.watermark.position, each.end_at_assignment) for place, each in waiting.items()}
        found = 0
        async for record in read_ranges(self._bus, ranges):
            offset = source_offset(record)
            if (key := order_key(record.key)) and offset is not None:
                level = self._ladder.rung(record.topic).level
                waiting[record.topic, record.partition].keys.enter(key, offset, level)
            found += 1
        if found:
            _log.info("retries.found", messages=found)
