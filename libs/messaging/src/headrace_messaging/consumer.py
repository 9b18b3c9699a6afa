"""The Kafka consumer underneath a subscriber, in the two ways a service can read.

On a real Kafka as a member of its group; on the embedded bus, whose membership is poor, by assigning itself everything.
Either way positions are sought explicitly: from stored offsets, from the group's commits, or from the beginning.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from headrace.topics import topic
from headrace_telemetry import get_logger

from headrace_messaging.event import Bus, Received
from headrace_messaging.partitions import Assignment, Place, Progress
from headrace_messaging.subscription import Halted, StoredOffsets, SubscriberOptions

_log = get_logger()
# The embedded bus's long polls do not wake on data: a poll's length is latency. Measured for an idle service on three
# topics: 8 ms cost 6.6% of a core, 20 ms 3.3%, 50 ms 1.4%; seven services share two cores with the models.
_FETCH_MAX_WAIT_EMBEDDED_MS = 20
_FETCH_MAX_WAIT_MS = 500
_COMMIT_TIMEOUT_S = 10
_POLL_MS = 200


class GroupConsumer:
    """One consumer of one group: positions, fetches, commits. It keeps `assignment` true through every rebalance."""

    def __init__(
        self,
        bus: Bus,
        topics: Iterable[str],
        *,
        group: str,
        options: SubscriberOptions,
        offsets: StoredOffsets | None,
        assignment: Assignment,
    ) -> None:
        self._bus = bus
        self._topics = tuple(topics)
        self._options = options
        self._offsets = offsets
        self._assignment = assignment
        self._failure: Exception | None = None
        self._client = AIOKafkaConsumer(
            bootstrap_servers=bus.bootstrap,
            group_id=group,
            client_id=group,
            group_instance_id=None if bus.embedded else options.group_instance_id,
            enable_auto_commit=False,
            auto_offset_reset="none",  # a position that is gone is a loss to be told of, not a place to jump from
            isolation_level="read_committed",
            check_crcs=not bus.embedded,
            fetch_max_wait_ms=_FETCH_MAX_WAIT_EMBEDDED_MS if bus.embedded else _FETCH_MAX_WAIT_MS,
            session_timeout_ms=options.session_timeout_ms,
            heartbeat_interval_ms=options.session_timeout_ms // 3,
            rebalance_timeout_ms=options.drain_ms + options.session_timeout_ms,
            partition_assignment_strategy=[RangePartitionAssignor],
        )

    async def open(self) -> None:
        """Connect and take partitions: all of them on the embedded bus, the group's share on a real Kafka."""
        if not self._bus.embedded:
            self._client.subscribe(self._topics, listener=_Rebalances(self))
            await self._client.start()
            return
        await self._client.start()
        # Created as declared, by headrace_devbroker.
        places = [TopicPartition(name, number) for name in self._topics for number in range(topic(name).partitions)]
        started = await self._positions(places)
        self._client.assign(places)
        self._take(started)

    async def fetch(self) -> Mapping[Place, list[Received]]:
        """Return what came in within a poll's time, in order per partition; Halted when a rebalance failed."""
        if self._failure is not None:
            raise Halted("the positions of assigned partitions could not be read") from self._failure
        found = await self._client.getmany(timeout_ms=_POLL_MS, max_records=self._options.fetch_max_records)
        return {tuple(place): [_received(record) for record in records] for place, records in found.items()}

    def rewind(self, place: Place) -> None:
        """Read a partition again from what has not been delivered yet; a no-op where it is not ours."""
        progress = self._assignment.get(place)
        if progress is not None and progress.current and self._is_assigned(place):
            self._client.seek(TopicPartition(*place), progress.watermark.next_offset)

    async def commit(self, progress: Progress) -> None:
        """Commit one partition's watermark if it moved; one that fails is tried again at the next interval."""
        position = progress.watermark.position
        if position == progress.committed:
            return
        try:
            async with asyncio.timeout(_COMMIT_TIMEOUT_S):
                await self._client.commit({TopicPartition(*progress.place): position})
        except (CommitFailedError, IllegalStateError, KafkaError, TimeoutError) as error:
            topic, partition = progress.place
            _log.warning("commit.failed", topic=topic, partition=partition, error=type(error).__name__)
        else:
            progress.committed = position

    def end(self, progress: Progress) -> int:
        """Return the offset that the partition's next record gets, as of the last fetch or else the assignment."""
        known = self._client.highwater(TopicPartition(*progress.place)) if self._is_assigned(progress.place) else None
        return progress.end_at_assignment if known is None else int(known)

    async def drain(self) -> None:
        """Stop starting handlers, let the running ones finish within the drain time, commit, let go."""
        revoked = self._assignment.revoke()
        try:
            async with asyncio.timeout(self._options.drain_ms / 1000):
                for progress in revoked:
                    await progress.idle()
        except TimeoutError:
            _log.warning("drain.timeout", drain_ms=self._options.drain_ms)
        for progress in revoked:
            await self.commit(progress)
        self._assignment.forget()

    async def close(self) -> None:
        """Leave the group and close; the next owner of the partitions does not have to wait for a timeout."""
        await self._client.stop()

    async def assigned(self, places: Iterable[TopicPartition]) -> None:
        """Take partitions over; a failure surfaces at the next fetch, since aiokafka would swallow it here."""
        try:
            self._take(await self._positions(list(places)))
        except Exception as error:
            self._failure = error

    def _take(self, started: list[Progress]) -> None:
        self._assignment.assign(started)
        for progress in started:
            self._client.seek(TopicPartition(*progress.place), progress.watermark.position)

    async def _positions(self, places: list[TopicPartition]) -> list[Progress]:
        positions = await asyncio.gather(*map(self._position, places))
        ends: Mapping[TopicPartition, int] = await self._client.end_offsets(places) if places else {}
        return [
            Progress((place.topic, place.partition), position, ends[place], dense=self._bus.embedded)
            for place, position in zip(places, positions, strict=True)
        ]

    async def _position(self, place: TopicPartition) -> int:
        if self._offsets is not None:
            known = await self._offsets.load(place.topic, place.partition)
        else:
            known = await self._client.committed(place)
        if known is not None:
            return known
        if self._bus.embedded:
            return 0  # not where its log begins: if that is later, records are gone and the gap must show
        beginnings: Mapping[TopicPartition, int] = await self._client.beginning_offsets([place])
        return beginnings[place]

    def _is_assigned(self, place: Place) -> bool:
        return TopicPartition(*place) in self._client.assignment()


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka ships no types
    def __init__(self, consumer: GroupConsumer) -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002 - eager: all go
        await self._consumer.drain()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        await self._consumer.assigned(assigned)


def _received(record: Any) -> Received:
    return Received(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        key=record.key,
        value=record.value,
        headers=tuple(record.headers),
    )
