"""One supervised process: start, watch, restart with backoff, stop. What the process does is not its matter."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headrace_runtime import EXIT_CANNOT_BIND

from headrace_cli.supervisor.forks import Fork, ForkServer, NotForked
from headrace_cli.supervisor.platform_file import ServiceState

LOG_BYTES_MAX = 50 * 1024 * 1024
LAST_LINES = 20
_TAIL_BYTES = 16 * 1024


@dataclass(frozen=True)
class RestartPolicy:
    """When a process that ended is started again, and when it is given up.

    An end counts against the process unless it had been ready for `healthy_s`, or a SIGKILL or SIGTERM from outside
    ended it: `failures_max` of those in a row are a crash loop.
    """

    backoff_min_s: float = 0.2
    backoff_max_s: float = 10.0
    healthy_s: float = 10.0
    failures_max: int = 5

    def counts(self, status: int, healthy_s: float) -> bool:
        """Say whether an end with this exit status, after so many seconds in health, counts against the process."""
        return healthy_s < self.healthy_s and status not in (-signal.SIGKILL, -signal.SIGTERM)

    def backoff_s(self, failures: int) -> float:
        """Return the seconds to wait before the next start."""
        return min(self.backoff_max_s, self.backoff_min_s * 2.0 ** max(0, failures - 1))


class Child:
    """A service process. `run()` keeps it alive until `stop()`; `state` is what the platform file shows.

    `cannot_bind` is called when another process took the address that it was given: its peers know no other one.
    """

    def __init__(
        self,
        state: ServiceState,
        module: str,
        server: ForkServer,
        *,
        changed: Callable[[], None],
        cannot_bind: Callable[[], None] = lambda: None,
        policy: RestartPolicy | None = None,
    ) -> None:
        self.state = state
        self._module = module
        self._server = server
        self._changed = changed
        self._cannot_bind = cannot_bind
        self._policy = policy or RestartPolicy()
        self._process: Fork | None = None
        self._ready_since: float | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Start the process and start it again whenever it ends, until stopped or given up."""
        failures = 0
        while not self._stopping.is_set():
            status = await self._live_once()
            if self._stopping.is_set():
                break
            if status == EXIT_CANNOT_BIND:
                self._cannot_bind()
            failures = failures + 1 if self._policy.counts(status, self._healthy_s()) else 0
            if failures >= self._policy.failures_max:
                self._become_failed()
                return
            self._set_state("restarting", pid=None)
            self.state.restarts += 1
            await self._pause(self._policy.backoff_s(failures))
        self._set_state("stopped", pid=None)

    def set_ready(self) -> None:
        """Note that the process takes work."""
        if self.state.state in ("starting", "restarting") and self.state.pid:
            self._ready_since = time.monotonic()
            self._set_state("ready", pid=self.state.pid)

    def stop(self) -> None:
        """Ask the process to end, and do not start it again."""
        self._stopping.set()
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process now, and do not start it again."""
        self._stopping.set()
        self._signal(signal.SIGKILL)

    async def _live_once(self) -> int:
        log = Path(self.state.log)
        log.parent.mkdir(parents=True, exist_ok=True)
        forking = asyncio.create_task(self._server.fork(self._module, self.state.environment, log))
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([forking, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not forking.done():  # it is not waited for, and killed if it comes
            forking.cancel()
            return 0
        try:
            self._process = forking.result()
        except NotForked as error:
            with log.open("a", encoding="utf-8") as out:  # noqa: ASYNC230 - opening a local file does not wait
                out.write(f"cannot start {self._module}: {error}\n")
            return error.status
        self._ready_since = None
        self._set_state("restarting" if self.state.restarts else "starting", pid=self._process.pid)
        if self._stopping.is_set():
            self._signal(signal.SIGTERM)
        return await self._process.wait()

    def _healthy_s(self) -> float:
        return 0.0 if self._ready_since is None else time.monotonic() - self._ready_since

    def _become_failed(self) -> None:
        self.state.last_log_lines = last_lines(Path(self.state.log))
        self._set_state("failed", pid=None)

    def _set_state(self, state: str, *, pid: int | None) -> None:
        self.state.state, self.state.pid = state, pid  # type: ignore[assignment] # one of State, by its callers
        self._changed()

    def _signal(self, number: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(number)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return


def last_lines(log: Path, count: int = LAST_LINES) -> list[str]:
    """Return the last lines of a log file."""
    try:
        with log.open("rb") as lines:
            lines.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            return lines.read().decode("utf-8", "replace").splitlines()[-count:]
    except FileNotFoundError:
        return []


def bound_log(log: Path, bytes_max: int = LOG_BYTES_MAX) -> None:
    """Keep a log within `bytes_max` and one older copy; its writer goes on undisturbed, because it appends."""
    if log.exists() and log.stat().st_size > bytes_max:
        shutil.copyfile(log, log.with_suffix(".log.1"))
        os.truncate(log, 0)
