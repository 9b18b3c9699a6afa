"""Back-pressure for the embedded bus, which drops the oldest records of a full partition without a word.

A producer stops at a share of the partition's limits until the slowest consuming group has committed. It counts exactly
in records, and in bytes by the mean size of what this process sent there, so the share leaves room for others' records.
Topics that no service consumes are not held back: nobody is waited for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from headrace.topics import topics
from headrace_errors import Unavailable

Committed = Callable[[str, str], Awaitable[Mapping[int, int]]]
"""Given a consumer group and a topic, the committed offset of each partition."""


@dataclass(frozen=True, slots=True)
class PressureLimits:
    """60% of what a partition of the embedded bus keeps, how long to wait for room, and how often to look for it."""

    bytes_max: int = 5 * 1024 * 1024 * 60 // 100
    records_max: int = 100_000 * 60 // 100
    wait_max_ms: int = 30_000
    poll_ms: int = 50


@dataclass(slots=True)
class _Partition:
    """What this process sent to one partition since `committed`, the slowest group's offset."""

    committed: int = 0
    end: int = 0
    sent: deque[tuple[int, int]] = field(default_factory=deque)
    sent_bytes: int = 0
    pending: int = 0
    pending_bytes: int = 0

    def records(self) -> int:
        return max(self.end - self.committed, 0) + self.pending

    def size_bytes(self) -> int:
        others = max(self.end - self.committed - len(self.sent), 0)
        mean = self.sent_bytes // len(self.sent) if self.sent else 0
        return self.sent_bytes + others * mean + self.pending_bytes

    def advance(self, committed: int) -> None:
        self.committed = max(self.committed, committed)
        while self.sent and self.sent[0][0] < self.committed:
            self.sent_bytes -= self.sent.popleft()[1]


class BusGate:
    """Admits records to the embedded bus. `committed` asks the bus for a group's offsets."""

    def __init__(self, committed: Committed, limits: PressureLimits = PressureLimits()) -> None:
        self._committed = committed
        self._limits = limits
        self._partitions: dict[tuple[str, int], _Partition] = {}
        self._refreshing = asyncio.Lock()

    async def admit(self, topic: str, partition: int, size_bytes: int) -> None:
        """Wait until there is room; Unavailable when there is none for `wait_max_ms`. Follow with `settle`."""
        if not self._consumers(topic):
            return
        state = self._partitions.setdefault((topic, partition), _Partition())
        if self._full(state, size_bytes):
            await self._wait(topic, state, size_bytes)
        state.pending += 1
        state.pending_bytes += size_bytes

    def settle(self, topic: str, partition: int, size_bytes: int, offset: int | None) -> None:
        """Note where an admitted record was appended; None when it was not, as far as is known."""
        state = self._partitions.get((topic, partition))
        if state is None:
            return
        state.pending -= 1
        state.pending_bytes -= size_bytes
        if offset is not None and offset >= state.committed:
            state.end = max(state.end, offset + 1)
            state.sent.append((offset, size_bytes))
            state.sent_bytes += size_bytes

    async def _wait(self, topic: str, state: _Partition, size_bytes: int) -> None:
        try:
            async with asyncio.timeout(self._limits.wait_max_ms / 1000):
                while True:
                    async with self._refreshing:  # one look at the bus serves everyone who waits
                        if self._full(state, size_bytes):
                            await self._refresh(topic)
                    if not self._full(state, size_bytes):
                        return
                    await asyncio.sleep(self._limits.poll_ms / 1000)
        except TimeoutError:
            raise Unavailable(f"{topic} is full: its consumers are behind", reason="bus_full") from None

    async def _refresh(self, topic: str) -> None:
        groups = [await self._committed(group, topic) for group in self._consumers(topic)]
        for (name, partition), state in self._partitions.items():
            if name == topic:
                state.advance(min(offsets.get(partition, 0) for offsets in groups))

    def _full(self, state: _Partition, size_bytes: int) -> bool:
        records, size = state.records() + 1, state.size_bytes() + size_bytes
        return records > self._limits.records_max or size > self._limits.bytes_max

    @staticmethod
    def _consumers(topic: str) -> tuple[str, ...]:
        declared = topics().get(topic)
        return declared.consumers if declared else ()
