"""Asks again until the answer is the one that is waited for, or the time is up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

WAIT_S = 10.0
POLL_S = 0.2
_Answer = TypeVar("_Answer")


async def ask_until(
    enough: Callable[[_Answer], bool], ask: Callable[[], Awaitable[_Answer]], *, wait_s: float, poll_s: float
) -> _Answer:
    """Ask, at least once, every `poll_s` seconds for about `wait_s` seconds; return the last answer, enough or not."""
    until = asyncio.get_running_loop().time() + wait_s
    while True:
        answer = await ask()
        if enough(answer) or asyncio.get_running_loop().time() > until:
            return answer
        await asyncio.sleep(poll_s)
