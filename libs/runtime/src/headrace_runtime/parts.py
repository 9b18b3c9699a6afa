"""The tasks that must live as long as a service does, and the time that it has to end them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

POLL_S: Final = 0.01
STEP_S_MIN: Final = 5.0


class PartDied(RuntimeError):
    """A part of the service that must run no longer does."""


class StopTime:
    """What is left of a stop's time for its next step, in seconds: never less than STEP_S_MIN, whatever came before."""

    def __init__(self, whole_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends_at = clock() + whole_s

    def __call__(self) -> float:
        """Return the seconds."""
        return max(self._ends_at - self._clock(), STEP_S_MIN)


class Parts:
    """Tasks by name: `subscriber`, `outbox` and so on."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], str] = {}

    def start(self, work: Awaitable[None], name: str) -> None:
        """Run one."""
        self._tasks[asyncio.ensure_future(work)] = name

    def raise_if_one_died(self) -> None:
        """Raise what a part raised, or PartDied where it merely ended."""
        for task, name in self._tasks.items():
            if task.done() and not task.cancelled():
                task.result()
                raise PartDied(f"{name} ended by itself")

    async def until(self, condition: Callable[[], bool], stopping: asyncio.Event) -> bool:
        """Wait until the condition holds; False when the service is told to stop before. Raises when a part died."""
        while not stopping.is_set():
            self.raise_if_one_died()
            if condition():
                return True
            await asyncio.sleep(POLL_S)
        return False

    async def until_one_ends(self, stopping: asyncio.Event) -> None:
        """Wait until the service is told to stop; raises when a part ended before."""
        stop = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait([stop, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
            if not stopping.is_set():
                self.raise_if_one_died()
        finally:
            stop.cancel()

    async def finish(self, name: str, grace_s: float) -> None:
        """Wait for the tasks of that name to end by themselves, for at most `grace_s` seconds."""
        named = [task for task, one in self._tasks.items() if one == name]
        if named:
            await asyncio.wait(named, timeout=grace_s)

    async def cancel(self) -> None:
        """End all that still run."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
