"""Commits of watermarks: explicit, each partition by itself, and never under another assignment than its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from headrace_telemetry import get_logger

from headrace_messaging.consuming.partitions import Progress

_log = get_logger()
COMMIT_TIMEOUT_S = 5


class Commits:
    """Commits for one consumer. `member` says that it belongs to a group, and does not assign itself partitions."""

    def __init__(self, client: AIOKafkaConsumer, *, member: bool) -> None:
        self._client = client
        self._member = member
        self._under_way: set[asyncio.Task[None]] = set()

    async def commit(self, progresses: Iterable[Progress]) -> None:
        """Commit every watermark that moved; one that fails is logged, and tried again at the next call."""
        moved = [progress for progress in progresses if progress.committed != progress.watermark.position]
        if not moved or not self._may():
            return
        commits = [asyncio.create_task(self._commit(progress)) for progress in moved]
        self._under_way.update(commits)
        try:
            await asyncio.wait(commits)
        finally:
            for commit in commits:
                commit.cancel()
            self._under_way.difference_update(commits)

    def give_up(self) -> None:
        """Give up what is under way.

        aiokafka repeats a commit with whatever generation it has by then: one that began before a revocation and ended
        after the next assignment would be accepted for a partition that is somebody else's, and move it back.
        """
        for commit in self._under_way:
            commit.cancel()

    def _may(self) -> bool:
        # A member that was put out of its group forgets its generation before it tells us. Without one its commit would
        # pass for a plain client's and, where the group is empty by now, undo what others did since.
        return not self._member or self._client._coordinator.generation >= 0  # noqa: SLF001 - told nowhere else

    async def _commit(self, progress: Progress) -> None:
        position = progress.watermark.position
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await self._client.commit({TopicPartition(*progress.place): position})
        except (CommitFailedError, IllegalStateError, KafkaError, TimeoutError) as error:
            name, partition = progress.place
            _log.warning("commit.failed", topic=name, partition=partition, error=type(error).__name__)
        else:
            progress.committed = position
