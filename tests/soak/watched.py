"""What a process of a soak tells of itself: where it listens, then a line of JSON a second, its worst lag and memory.

`python -m soak.watched CORE` is the control: it does nothing else, on that core, so whatever stops the core stops
this loop too.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from headrace_generate.loop_lag import watch_loop

PROBE_MS = 2  # a loop is looked at this often: of a stop it sees what is left when it would have woken up


async def tell(port: int = 0) -> None:
    """Print the port, then every second the worst lag since the last line and the memory of this process family."""
    sys.stdout.write(json.dumps({"port": port, "pid": os.getpid()}) + "\n")
    lags = [0.0]

    async def every_second() -> None:
        while True:
            await asyncio.sleep(1)
            sys.stdout.write(json.dumps({"lag_ms": round(1000 * max(lags), 2), "rss_mb": rss_mb()}) + "\n")
            sys.stdout.flush()
            lags[:] = [0.0]

    sys.stdout.flush()
    watching = watch_loop(lags.append, clock=time.monotonic, sleep=asyncio.sleep, interval_s=PROBE_MS / 1000)
    await asyncio.gather(every_second(), watching)


def rss_mb() -> float:
    """Return the resident memory of this process and its children. Two small files: on the loop that is watched."""
    mine = os.getpid()
    children = Path(f"/proc/self/task/{mine}/children").read_text("utf-8").split()
    return round(sum(map(resident_pages, (mine, *map(int, children)))) * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def resident_pages(pid: int) -> int:
    """Return a process's pages in memory, none of one that has just ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text("utf-8").split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


async def idle() -> None:
    """Tell until standard input ends."""
    telling = asyncio.create_task(tell())
    await asyncio.to_thread(sys.stdin.read)
    telling.cancel()


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[1])})
    asyncio.run(idle())
