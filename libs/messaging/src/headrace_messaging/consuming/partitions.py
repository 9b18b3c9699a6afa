"""The partitions that are ours now, and how far each is.

A partition's progress object is its assignment: made when it is assigned, closed when it is revoked. Whoever holds one
asks it whether it is still current.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Final

from headrace_messaging.consuming.watermark import Watermark
from headrace_messaging.retry.keys import KeysInRetry

Place = tuple[str, int]
"""A topic and a partition number."""
NEVER_COMMITTED: Final = -1


class Progress:
    """One partition during one assignment: its watermark, what runs, and what is committed.

    A group's first commit is its starting position: from then on a log that begins later shows as a loss.
    """

    def __init__(
        self,
        place: Place,
        position: int,
        end: int,
        *,
        committed: int,
        dense: bool,
        keys: KeysInRetry | None = None,
    ) -> None:
        self.place = place
        self.end_at_assignment = end
        self.watermark = Watermark(position, dense=dense)
        self.committed = committed
        self.stored = NEVER_COMMITTED
        """The position that the service's own offsets have, as far as this assignment has stored one."""
        self.keys = KeysInRetry() if keys is None else keys
        """One for a source partition and those of its retry topics."""
        self.blocked = 0
        """Messages whose dead letter or retry cannot be written now: while there are any, none is taken in."""
        self.current = True
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def begin(self) -> None:
        """Take note that a handler starts."""
        self._running += 1
        self._idle.clear()

    def end(self) -> None:
        """Take note that a handler ended, however it did."""
        self._running -= 1
        if self._running == 0:
            self._idle.set()

    async def idle(self) -> None:
        """Return when no handler runs."""
        await self._idle.wait()


class Assignment:
    """The current partitions. `epoch` counts assignments and revocations: compare it across an await."""

    def __init__(self) -> None:
        self.epoch = 0
        self.known = False
        """Whether we know what is ours, be it nothing: not before the first assignment, nor between two."""
        self._partitions: dict[Place, Progress] = {}

    def __iter__(self) -> Iterator[Progress]:
        return iter(tuple(self._partitions.values()))

    def __len__(self) -> int:
        return len(self._partitions)

    def get(self, place: Place) -> Progress | None:
        """Return the progress of a partition that is ours, else None."""
        return self._partitions.get(place)

    def assign(self, started: Iterable[Progress]) -> None:
        """Take partitions, each from its starting position."""
        self.epoch += 1
        self.known = True
        for progress in started:
            self._partitions[progress.place] = progress

    def revoke(self) -> list[Progress]:
        """Stop all intake: nothing queued starts any more. Return what may still run, to be drained and committed."""
        self.epoch += 1
        self.known = False
        revoked = list(self._partitions.values())
        for progress in revoked:
            progress.current = False
        return revoked

    def forget(self) -> None:
        """Drop what was revoked, after its last commit."""
        self._partitions = {place: progress for place, progress in self._partitions.items() if progress.current}
