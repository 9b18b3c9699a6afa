"""One bus after the other: when the next one follows, and when that is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

from headrace_errors import Unavailable

from headrace_cli.supervisor.child import RestartPolicy

NOT_STARTED = 1


async def keep_up(
    live: Callable[[], Awaitable[int]],
    *,
    stopping: asyncio.Event,
    policy: RestartPolicy | None = None,
    clock: Callable[[], float] = monotonic,
) -> None:
    """Let one generation live after the other until `stopping`, under the restart policy of processes.

    `live` returns the exit status by which a generation ended. Raises what the first one raises when it does not
    start, for that is the caller's to mend; Unavailable when too many in a row ended early.
    """
    policy, failures, lived = policy or RestartPolicy(), 0, 0
    while not stopping.is_set():
        began = clock()
        try:
            status = await live()
        except Unavailable:
            if not lived:
                raise
            status = NOT_STARTED
        lived += 1
        failures = failures + 1 if policy.counts(status, clock() - began) else 0
        if failures >= policy.failures_max:
            raise Unavailable(f"{failures} generations in a row ended early, the last with status {status}")
        await _pause(stopping, policy.backoff_s(failures))


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return
