"""How much later than asked the event loop comes back: what a call that blocks it, or one that takes long, would show.

Models run in processes of their own so that this stays small; here is the proof.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

INTERVAL_S = 0.05


async def watch_loop(
    heard: Callable[[float], None],
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[object]],
    interval_s: float = INTERVAL_S,
) -> None:
    """Tell the lag in seconds of one sleep after another; never returns. `clock` is monotonic."""
    while True:
        began = clock()
        await sleep(interval_s)
        heard(max(0.0, clock() - began - interval_s))
