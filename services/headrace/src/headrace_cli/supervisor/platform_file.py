"""`<data-dir>/run/platform.json`: how the other commands find a running platform.

The supervisor writes it atomically at each change. Whether the platform really runs is told by the lock beside it,
which the kernel releases when the supervisor dies, however it dies.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

State = Literal["starting", "ready", "restarting", "failed", "stopped"]


class AlreadyRunning(RuntimeError):
    """Another supervisor holds the data-dir."""

    def __init__(self, data_dir: Path, pid: int | None) -> None:
        super().__init__(
            f"a platform already runs on {data_dir} (pid {pid or 'unknown'}); stop it with `headrace down`"
        )
        self.pid = pid


class NotRunning(RuntimeError):
    """No supervisor holds the data-dir."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(f"no platform runs on {data_dir}; start one with `headrace up`")


@dataclass
class ServiceState:
    """One service as the supervisor sees it. `pid` is the service process itself.

    `environment` is what the process has beside the supervisor's own; one more replica of it needs the same.
    """

    name: str
    address: str
    log: str
    environment: dict[str, str] = field(default_factory=dict)
    pid: int | None = None
    state: State = "stopped"
    restarts: int = 0
    last_log_lines: list[str] = field(default_factory=list)


@dataclass
class PlatformState:
    """The whole platform. `bootstrap` is the bus's host:port, `generation` its id (embedded only).

    `parts` says for people what the platform stands on: bus, sql, vectors, blobs.
    """

    pid: int
    data_dir: str
    bootstrap: str = ""
    generation: str = ""
    bus_pid: int | None = None
    profile: str = "embedded"
    parts: dict[str, str] = field(default_factory=dict)
    tenants_file: str | None = None
    services: dict[str, ServiceState] = field(default_factory=dict)

    def ready(self) -> bool:
        """Tell whether every service takes work."""
        return bool(self.services) and all(service.state == "ready" for service in self.services.values())


class PlatformFile:
    """The file and its lock, under one data-dir."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.absolute()
        self._path = self.data_dir / "run" / "platform.json"
        self._lock_path = self.data_dir / "run" / "up.lock"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the data-dir for this process; AlreadyRunning names who has it."""
        self._lock_path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock_path.open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                pid = lock.read().strip()
                raise AlreadyRunning(self.data_dir, int(pid) if pid else None) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def write(self, state: PlatformState) -> None:
        """Replace the file in one step, so that a reader sees the old or the new one."""
        scratch = self._path.with_suffix(".tmp")
        scratch.write_text(json.dumps(asdict(state), indent=2), encoding="utf-8")
        scratch.replace(self._path)

    def read(self) -> PlatformState:
        """Return the running platform; NotRunning when no supervisor holds the lock."""
        if not self.is_running():
            raise NotRunning(self.data_dir)
        try:
            return _parsed(json.loads(self._path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise NotRunning(self.data_dir) from None  # it holds the lock and has not written yet

    def find(self) -> PlatformState | None:
        """Return the running platform, or None while there is none: for those who wait for it."""
        try:
            return self.read()
        except NotRunning:
            return None

    def is_running(self) -> bool:
        """Tell whether a supervisor holds the data-dir."""
        try:
            with self._lock_path.open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def remove(self) -> None:
        """Forget the platform that stopped."""
        self._path.unlink(missing_ok=True)


def _parsed(document: dict[str, Any]) -> PlatformState:
    services = {name: ServiceState(**service) for name, service in document.pop("services").items()}
    return PlatformState(**document, services=services)
