"""What a service does again and again beside its messages: sweeps and checks, which an outage only delays."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from headrace_errors import Unavailable
from headrace_telemetry import get_logger

_log = get_logger()


async def regularly(job: Callable[[], Awaitable[None]], *, interval_s: float, missed: str) -> None:
    """Do a job now, and again `interval_s` seconds after each time that it ended; never returns.

    One that raises Unavailable is logged as `missed` and waits for its next turn. Any other error ends the service.
    """
    while True:
        try:
            await job()
        except Unavailable as error:
            _log.warning(missed, reason=error.reason, detail=error.detail)
        await asyncio.sleep(interval_s)
