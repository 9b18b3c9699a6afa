"""Many callers, few commits: everything that waits while one commit runs goes into the next.

A commit to a LanceDB table costs about the same for one row as for a thousand, and every commit is a version to be
compacted later. Nobody waits for company: a lone caller commits at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class GroupCommit(Generic[Item, Result]):
    """Hands items to `commit` in order, one group at a time, each of up to `size_max` unless one item alone is larger.

    The queue is as long as there are callers, who are bounded by the permits of the subscriber. A caller that is
    cancelled takes its item along if its commit has not begun; a commit that has begun is never cancelled.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        size_of: Callable[[Item], int],
        size_max: int,
    ) -> None:
        self._commit, self._size_of, self._size_max = commit, size_of, size_max
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._committer: asyncio.Task[None] | None = None
        self.turn = asyncio.Lock()
        """Held while commits run; take it to keep them out."""

    async def submit(self, item: Item) -> Result:
        """Return what `commit` made of the item; an error of the commit reaches everyone in its group."""
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._committer is None or self._committer.done():
            self._committer = asyncio.create_task(self._drain())
        return await done

    async def idle(self) -> None:
        """Return once nothing waits."""
        if self._committer is not None:
            await self._committer

    async def _drain(self) -> None:
        while self._waiting:
            async with self.turn:
                await self._commit_next()

    async def _commit_next(self) -> None:
        group = self._take()
        try:
            results = await self._commit([item for item, _ in group])
        except Exception as error:  # it belongs to the callers, who decide
            for _, done in group:
                if not done.done():
                    done.set_exception(error)
            return
        for (_, done), result in zip(group, results, strict=True):
            if not done.done():
                done.set_result(result)

    def _take(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        group: list[tuple[Item, asyncio.Future[Result]]] = []
        size = 0
        while self._waiting:
            item, done = self._waiting[0]
            size += self._size_of(item)
            if group and size > self._size_max:
                break
            self._waiting.popleft()
            if not done.cancelled():
                group.append((item, done))
        return group
