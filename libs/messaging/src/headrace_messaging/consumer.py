"""The Kafka consumer underneath a subscriber, in the two ways a service can read.

On a real Kafka as a member of its group; on the embedded bus, whose membership is poor, by assigning itself everything.
Either way positions are sought explicitly: from stored offsets, from the group's commits, or from the beginning.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from headrace.topics import topic
from headrace_errors import HeadraceError, Unavailable
from headrace_telemetry import get_logger

from headrace_messaging.backoff import keep_trying
from headrace_messaging.event import Bus, Received
from headrace_messaging.partitions import NEVER_COMMITTED, Assignment, Place, Progress
from headrace_messaging.subscription import Halted, StoredOffsets, SubscriberOptions

_log = get_logger()
# The embedded bus's long polls do not wake on data: a poll's length is latency. Measured for an idle service on three
# topics: 8 ms cost 6.6% of a core, 20 ms 3.3%, 50 ms 1.4%; seven services share two cores with the models.
_FETCH_MAX_WAIT_EMBEDDED_MS = 20
_FETCH_MAX_WAIT_MS = 500
_COMMIT_TIMEOUT_S = 5
_POLL_MS = 200
_POLL_HELD_MS = 20
# aiokafka would leave the group after this time without a fetch. Ours stops fetching on purpose, for as long as what it
# needs is away; whether it is alive is Subscriber.alive's to say.
_POLL_INTERVAL_MAX_MS = 365 * 24 * 3_600_000


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
        self._held: dict[Place, Callable[[], bool]] = {}
        self._taking: asyncio.Task[None] | None = None
        self._commits: set[asyncio.Task[None]] = set()
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
            max_poll_interval_ms=_POLL_INTERVAL_MAX_MS,
            # A drain may take its whole time, and the commit after it: the group waits for that long.
            rebalance_timeout_ms=options.drain_ms + _COMMIT_TIMEOUT_S * 1000 + options.session_timeout_ms,
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
        if self._taking is not None and self._taking.done() and not self._taking.cancelled():
            self._taking.result()
        self._resume()
        found = await self._client.getmany(
            timeout_ms=_POLL_HELD_MS if self._held else _POLL_MS, max_records=self._options.fetch_max_records
        )
        return {tuple(place): [_received(record) for record in records] for place, records in found.items()}

    def hold(self, place: Place, until: Callable[[], bool]) -> None:
        """Take in nothing more of a partition until the condition holds, beginning with what was not delivered yet."""
        if self._seek_undelivered(place):
            self._client.pause(TopicPartition(*place))
            self._held[place] = until

    def rewind(self, place: Place) -> None:
        """Read a partition again from what has not been delivered yet; a no-op where it is not ours."""
        self._seek_undelivered(place)

    async def commit(self, progresses: Iterable[Progress]) -> None:
        """Commit every watermark that moved, each by itself; one that fails is tried again at the next interval."""
        moved = [progress for progress in progresses if progress.committed != progress.watermark.position]
        if not moved or not self._is_member():
            return
        commits = [asyncio.create_task(self._commit(progress)) for progress in moved]
        self._commits.update(commits)
        try:
            await asyncio.wait(commits)
        finally:
            self._cancel_commits(commits)

    def end(self, progress: Progress) -> int:
        """Return the offset that the partition's next record gets, as of the last fetch or else the assignment."""
        known = self._client.highwater(TopicPartition(*progress.place)) if self._is_assigned(progress.place) else None
        return progress.end_at_assignment if known is None else int(known)

    async def drain(self) -> None:
        """Stop starting handlers, let the running ones finish within the drain time, commit, let go."""
        if self._taking is not None:
            self._taking.cancel()
        revoked = self._assignment.revoke()
        self._held.clear()
        try:
            async with asyncio.timeout(self._options.drain_ms / 1000):
                for progress in revoked:
                    await progress.idle()
        except TimeoutError:
            _log.warning("drain.timeout", drain_ms=self._options.drain_ms)
        # aiokafka repeats a commit with whatever generation it has by then. One that began before the revocation and
        # ended after the next assignment would be accepted for a partition that is somebody else's, and rewind it.
        self._cancel_commits(list(self._commits))
        await self.commit(revoked)
        self._assignment.forget()

    async def close(self) -> None:
        """Leave the group and close; the next owner of the partitions does not have to wait for a timeout."""
        await self._client.stop()

    def assigned(self, places: Iterable[TopicPartition]) -> None:
        """Begin to take partitions over. Not awaited: while it lasts, aiokafka sends no heartbeats."""
        wanted = list(places)
        self._client.pause(*wanted)  # not a record before its position is known
        self._taking = asyncio.create_task(self._take_over(wanted))

    async def _take_over(self, places: list[TopicPartition]) -> None:
        def log(error: HeadraceError, tries: int) -> None:
            _log.warning("assignment.waiting", reason=error.reason, detail=error.detail, tries=tries)

        try:
            started = await keep_trying(lambda: self._positions(places), backoff=self._options.backoff, on_wait=log)
        except Exception as error:
            raise Halted("the positions of assigned partitions could not be read") from error
        self._take(started)
        self._client.resume(*places)

    def _take(self, started: list[Progress]) -> None:
        self._assignment.assign(started)
        for progress in started:
            self._client.seek(TopicPartition(*progress.place), progress.watermark.position)

    async def _positions(self, places: list[TopicPartition]) -> list[Progress]:
        try:
            ends = await self._client.end_offsets(places) if places else {}
            return await asyncio.gather(*(self._progress(place, ends[place]) for place in places))
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"no positions: {type(error).__name__}") from error

    async def _progress(self, place: TopicPartition, end: int) -> Progress:
        committed = await self._client.committed(place)
        stored = committed if self._offsets is None else await self._offsets.load(place.topic, place.partition)
        position = await self._beginning(place) if stored is None else stored
        return Progress(
            (place.topic, place.partition),
            position,
            end,
            committed=NEVER_COMMITTED if committed is None else committed,
            dense=self._bus.embedded,
        )

    async def _beginning(self, place: TopicPartition) -> int:
        if self._bus.embedded:
            return 0  # not where its log begins: if that is later, records are gone and the gap must show
        beginnings: Mapping[TopicPartition, int] = await self._client.beginning_offsets([place])
        return beginnings[place]

    async def _commit(self, progress: Progress) -> None:
        position = progress.watermark.position
        try:
            async with asyncio.timeout(_COMMIT_TIMEOUT_S):
                await self._client.commit({TopicPartition(*progress.place): position})
        except (CommitFailedError, IllegalStateError, KafkaError, TimeoutError) as error:
            name, partition = progress.place
            _log.warning("commit.failed", topic=name, partition=partition, error=type(error).__name__)
        else:
            progress.committed = position

    def _cancel_commits(self, commits: Iterable[asyncio.Task[None]]) -> None:
        for commit in commits:
            commit.cancel()
            self._commits.discard(commit)

    def _resume(self) -> None:
        for place in [place for place, until in self._held.items() if until()]:
            del self._held[place]
            if self._is_assigned(place):
                self._client.resume(TopicPartition(*place))

    def _seek_undelivered(self, place: Place) -> bool:
        progress = self._assignment.get(place)
        if progress is None or not progress.current or not self._is_assigned(place):
            return False
        self._client.seek(TopicPartition(*place), progress.watermark.next_offset)
        return True

    def _is_assigned(self, place: Place) -> bool:
        return TopicPartition(*place) in self._client.assignment()

    def _is_member(self) -> bool:
        # A member that was put out of its group forgets its generation before it tells us. Without one its commit would
        # pass for a plain client's and, where the group is empty by now, rewind what others did since.
        return self._bus.embedded or self._client._coordinator.generation >= 0  # noqa: SLF001 - told nowhere else


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka ships no types
    def __init__(self, consumer: GroupConsumer) -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002 - eager: all go
        await self._consumer.drain()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._consumer.assigned(assigned)


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
