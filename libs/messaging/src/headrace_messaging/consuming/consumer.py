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
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from headrace.topics import topic
from headrace_errors import HeadraceError
from headrace_telemetry import get_logger

from headrace_messaging.backoff import keep_trying
from headrace_messaging.consuming.bookmarks import Bookmarks
from headrace_messaging.consuming.commits import COMMIT_TIMEOUT_S, Commits
from headrace_messaging.consuming.lenient import accept_any_header_name
from headrace_messaging.consuming.partitions import Assignment, Place, Progress
from headrace_messaging.consuming.positions import Positions
from headrace_messaging.consuming.ranges import received
from headrace_messaging.consuming.subscription import Halted, StoredOffsets, SubscriberOptions
from headrace_messaging.consuming.unreadable import Unreadable
from headrace_messaging.event import Bus, Received
from headrace_messaging.retry.ladder import Ladder

_log = get_logger()
# The embedded bus's long polls do not wake on data: a poll's length is latency. Measured for an idle service on three
# topics: 8 ms cost 6.6% of a core, 20 ms 3.3%, 50 ms 1.4%; seven services share two cores with the models.
_FETCH_MAX_WAIT_EMBEDDED_MS = 20
_FETCH_MAX_WAIT_MS = 500
_POLL_MS = 200
_POLL_HELD_MS = 20
LEAVE_TIMEOUT_S = 3
_POSITION_ERRORS = (OffsetOutOfRangeError, NoOffsetForPartitionError)
# aiokafka would leave the group after this time without a fetch. Ours stops fetching on purpose, for as long as what it
# needs is away; whether it is alive is Subscriber.alive's to say.
_POLL_INTERVAL_MAX_MS = 365 * 24 * 3_600_000


class GroupConsumer:
    """One consumer of one group: positions, fetches, commits. It keeps `assignment` true through every rebalance."""

    def __init__(
        self,
        bus: Bus,
        ladder: Ladder,
        *,
        group: str,
        options: SubscriberOptions,
        offsets: StoredOffsets | None,
        assignment: Assignment,
    ) -> None:
        self._bus = bus
        self._ladder = ladder
        self._options = options
        self._assignment = assignment
        self._held: dict[Place, Callable[[], bool]] = {}
        self._unreadable = Unreadable(options.backoff)
        self._taking: asyncio.Task[None] | None = None
        accept_any_header_name()
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
            rebalance_timeout_ms=options.drain_ms + COMMIT_TIMEOUT_S * 1000 + options.session_timeout_ms,
            partition_assignment_strategy=[RangePartitionAssignor],
        )
        self._commits = Commits(self._client, member=not bus.embedded)
        self._bookmarks = Bookmarks(offsets)
        self._positions = Positions(self._client, bus, ladder, offsets)

    async def open(self) -> None:
        """Connect and take partitions: all of them on the embedded bus, the group's share on a real Kafka."""
        if not self._bus.embedded:
            self._client.subscribe(self._ladder.topics, listener=_Rebalances(self))
            await self._client.start()
            return
        await self._client.start()
        # Created as declared, by headrace_devbroker.
        places = [
            TopicPartition(name, number)
            for name in self._ladder.topics
            for number in range(topic(self._ladder.rung(name).source).partitions)
        ]
        started = await self._positions.of(places)
        self._client.assign(places)
        self._take(started)

    async def fetch(self) -> Mapping[Place, list[Received]]:
        """Return what came in within a poll's time, in order per partition; Halted when a rebalance failed."""
        if self._taking is not None and self._taking.done() and not self._taking.cancelled():
            self._taking.result()
        self._resume()
        found = await self._poll()
        if not found:
            await self._skip_marks()
        for records in found.values():
            self._bus.clock.witness(records[-1].timestamp)
        return {tuple(place): [received(record) for record in records] for place, records in found.items()}

    async def _poll(self) -> dict[TopicPartition, list[Any]]:
        fetch_max = self._options.fetch_max_records
        if self._unreadable.searching and (places := self._asked()):
            return await self._poll_one_by_one(places, fetch_max)
        timeout_ms = _POLL_HELD_MS if self._held else _POLL_MS
        try:
            found: dict[TopicPartition, list[Any]] = await self._client.getmany(
                timeout_ms=timeout_ms, max_records=fetch_max
            )
        except _POSITION_ERRORS:
            raise  # which say whose they are
        except Exception:
            # What cannot be parsed in one partition takes the records of others with it, whose positions have moved.
            for progress in self._assignment:
                self._seek_undelivered(progress.place)
            self._unreadable.search()
            raise
        self._unreadable.read(found)
        return found

    def _asked(self) -> list[Place]:
        return [each.place for each in self._assignment if each.place not in self._held]

    async def _poll_one_by_one(self, places: Iterable[Place], fetch_max: int) -> dict[TopicPartition, list[Any]]:
        """Find the partition that cannot be read, and hold it for a while: the others go on."""
        found: dict[TopicPartition, list[Any]] = {}
        for place in places:
            try:
                found |= await self._client.getmany(
                    TopicPartition(*place), timeout_ms=_POLL_HELD_MS, max_records=fetch_max
                )
            except _POSITION_ERRORS:
                raise
            except KafkaError as error:
                self.hold(place, until=self._unreadable.found(place, error))
        return found

    async def _skip_marks(self) -> None:
        """Follow the client past marks of transactions; only while it has given out no record that we have not seen."""
        for progress in self._assignment:
            if progress.current and self._is_assigned(progress.place):
                progress.watermark.skip_to(await self._client.position(TopicPartition(*progress.place)))

    def hold(self, place: Place, until: Callable[[], bool]) -> None:
        """Take in nothing more of a partition until the condition holds, beginning with what was not delivered yet."""
        if self._seek_undelivered(place):
            self._client.pause(TopicPartition(*place))
            self._held[place] = until

    def rewind(self, place: Place) -> None:
        """Read a partition again from what has not been delivered yet; a no-op where it is not ours."""
        self._seek_undelivered(place)

    async def commit(self, progresses: Iterable[Progress]) -> None:
        """Commit every watermark that moved, and store it; what fails is tried again at the next call."""
        moved = list(progresses)
        await asyncio.gather(self._commits.commit(moved), self._bookmarks.store(moved))

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
        self._unreadable.forget()
        try:
            async with asyncio.timeout(self._options.drain_ms / 1000):
                for progress in revoked:
                    await progress.idle()
        except TimeoutError:
            _log.warning("drain.timeout", drain_ms=self._options.drain_ms)
        self._commits.give_up()
        await asyncio.gather(self._commits.commit(revoked), self._bookmarks.store(revoked, last=True))
        self._assignment.forget()

    async def close(self) -> None:
        """Leave the group and close; the next owner of the partitions does not have to wait for a timeout."""
        try:
            async with asyncio.timeout(LEAVE_TIMEOUT_S):
                await self._client.stop()
        except TimeoutError:
            _log.warning("leave.timeout")

    def assigned(self, places: Iterable[TopicPartition]) -> None:
        """Begin to take partitions over. Not awaited: while it lasts, aiokafka sends no heartbeats."""
        wanted = list(places)
        self._client.pause(*wanted)  # not a record before its position is known
        self._taking = asyncio.create_task(self._take_over(wanted))

    async def _take_over(self, places: list[TopicPartition]) -> None:
        def log(error: HeadraceError, tries: int) -> None:
            _log.warning("assignment.waiting", reason=error.reason, detail=error.detail, tries=tries)

        try:
            started = await keep_trying(lambda: self._positions.of(places), backoff=self._options.backoff, on_wait=log)
        except Exception as error:
            raise Halted("the positions of assigned partitions could not be read") from error
        self._take(started)
        self._client.resume(*places)

    def _take(self, started: list[Progress]) -> None:
        self._assignment.assign(started)
        for progress in started:
            self._client.seek(TopicPartition(*progress.place), progress.watermark.position)

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


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka ships no types
    def __init__(self, consumer: GroupConsumer) -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002 - eager: all go
        await self._consumer.drain()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._consumer.assigned(assigned)
