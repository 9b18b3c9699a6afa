"""One importer at a time: an advisory file lock with a bounded wait, freed by the kernel when its holder dies.

Works between processes and between threads of one process. It guards a cache folder on a local disk, nothing more.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace_inference.model_errors import StoreBusy

_POLL_S = 0.1


@contextmanager
def held_lock(path: Path, *, wait_s: float, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock file at `path`; blocks up to `wait_s` seconds, then StoreBusy.

    `on_wait` is called once, with the holder's process id, if there is anything to wait for. The file stays behind.
    """
    with path.open("a+", encoding="ascii") as file:
        _acquire(file.fileno(), path, wait_s, on_wait)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _acquire(descriptor: int, path: Path, wait_s: float, on_wait: Callable[[str], None]) -> None:
    deadline = time.monotonic() + wait_s
    told = False
    while not _try(descriptor):
        holder = path.read_text("ascii") or "?"
        if time.monotonic() > deadline:
            raise StoreBusy(f"process {holder} has held {path} for over {wait_s:.0f} s; wait for it or stop it")
        if not told:
            on_wait(holder)
            told = True
        time.sleep(_POLL_S)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
