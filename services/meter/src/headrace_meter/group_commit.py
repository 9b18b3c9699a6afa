"""Callers who wait at the same time share a transaction: group commit, within this process.

While a transaction runs, what is asked meanwhile queues; the next one takes all of it, and each caller gets an answer
of its own. Nothing waits for company. Tenants are spread over lanes, so that one whose rows are locked elsewhere holds
up those of its lane only.
"""

from __future__ import annotations

import asyncio
import contextvars
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from headrace_errors import HeadraceError, Overloaded, Unavailable

from headrace_meter.booking import Answer
from headrace_meter.facts import Fact

BookEach = Callable[[Sequence[Fact]], Awaitable[Sequence[Answer | HeadraceError]]]
"""Books facts in one transaction and returns the answer of each; raises where none was booked."""

_Waiting = tuple[Fact, asyncio.Future[Answer]]


class GroupCommit:
    """The port Post. `together_max` facts share a transaction, `waiting_max` may wait in a lane."""

    def __init__(self, book_each: BookEach, *, lanes: int, together_max: int, waiting_max: int) -> None:
        self._lanes = [_Lane(book_each, together_max, waiting_max) for _ in range(lanes)]

    async def __call__(self, fact: Fact) -> Answer:
        """Book a fact and return its answer; what was booked stays booked when its caller has gone meanwhile."""
        lane = self._lanes[zlib.crc32(fact.tenant.encode("utf-8", "surrogatepass")) % len(self._lanes)]
        return await lane.post(fact)


class _Lane:
    def __init__(self, book_each: BookEach, together_max: int, waiting_max: int) -> None:
        self._book_each = book_each
        self._together_max, self._waiting_max = together_max, waiting_max
        self._waiting: deque[_Waiting] = deque()
        self._working: asyncio.Task[None] | None = None

    async def post(self, fact: Fact) -> Answer:
        if len(self._waiting) >= self._waiting_max:
            raise Overloaded(f"{self._waiting_max} calls wait for the ledger")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((fact, answer))
        if self._working is None:
            # In no caller's context: what follows from one must not be taken for another's.
            self._working = asyncio.create_task(self._work(), context=contextvars.Context())
        return await answer

    async def _work(self) -> None:
        try:
            while self._waiting:
                taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._together_max))]
                await self._book([one for one in taken if not one[1].cancelled()])
        finally:
            self._working = None

    async def _book(self, taken: Sequence[_Waiting]) -> None:
        """Book what was taken; where that fails for no outage, one by one, so that only who is to blame is refused."""
        if not taken:
            return
        try:
            answers = await self._book_each([fact for fact, _ in taken])
        except Unavailable as error:
            answers = [error] * len(taken)
        except Exception as error:
            if len(taken) > 1:
                for one in taken:
                    await self._book([one])
                return
            _fail(taken[0][1], error)
            return
        for (_, waiting), answer in zip(taken, answers, strict=True):
            if isinstance(answer, HeadraceError):
                _fail(waiting, answer)
            elif not waiting.done():
                waiting.set_result(answer)


def _fail(waiting: asyncio.Future[Answer], error: Exception) -> None:
    if not waiting.done():
        waiting.set_exception(error)
