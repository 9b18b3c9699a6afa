"""Which keys of a partition have messages in retry: what comes later under such a key follows them, in order.

Pure: it knows offsets and levels, neither Kafka nor clocks. Level 0 is the source topic, 1 the first retry topic.
"""

from __future__ import annotations

from enum import Enum


class Turn(Enum):
    """What to do with a message of which a level has come up, other than to follow the one before it."""

    HANDLE = "handle"
    """Nothing of its key is before it."""
    KNOWN = "known"
    """It waits on a later level already: a crash came between that copy's acknowledgement and this one's commit."""


class KeysInRetry:
    """The messages of one source partition that wait on its retry topics: per key, each by its source offset.

    A message is before another of its key when its source offset is lower. Only the first may be handled; a later one
    that comes up goes to the level where the nearest one before it waits, behind it. So order per key holds through
    every level, and no partition has to wait for one key.
    """

    def __init__(self) -> None:
        self._levels: dict[bytes, dict[int, int]] = {}
        self._count = 0

    def __len__(self) -> int:
        """Count the messages that wait."""
        return self._count

    def enter(self, key: bytes, offset: int, level: int) -> None:
        """Take note that a copy lies on a level; a message counts where it is farthest, however often it is noted."""
        levels = self._levels.setdefault(key, {})
        self._count += offset not in levels
        levels[offset] = max(level, levels.get(offset, 0))

    def leave(self, key: bytes, offset: int, level: int) -> None:
        """Take note that the copy on a level is done; a copy on a later level still waits."""
        levels = self._levels.get(key, {})
        if levels.get(offset) != level:
            return
        del levels[offset]
        self._count -= 1
        if not levels:
            del self._levels[key]

    def turn(self, key: bytes, offset: int, level: int) -> Turn | int:
        """Say what to do with a message that has come up on a level; a number is the level to follow to."""
        levels = self._levels.get(key, {})
        if levels.get(offset, level) > level:
            return Turn.KNOWN
        before = [other for at, other in levels.items() if at < offset and other >= max(level, 1)]
        return min(before) if before else Turn.HANDLE
