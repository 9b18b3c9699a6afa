"""One server process: start, wait until it is ready, stop, kill, pause, start again. What it serves is not its matter.

A server dies with the process that started it, however that ends: the kernel sends SIGKILL (`PR_SET_PDEATHSIG`, set by
`setpriv` between fork and exec, so that no Python runs there). The kernel means the *thread* that started it: start
servers from a thread that stays.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

POLL_INTERVAL_S = 0.05
READY_WITHIN_S = 180.0  # on two busy cores a JVM takes a minute
STOP_WITHIN_S = 20.0
_LINES_SHOWN = 20


class ServerFailed(RuntimeError):
    """A server did not get ready, or ended; the text holds its last log lines."""


class Process:
    """A process with a log file. `ready` is asked again and again after a start; it may look at the process."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        ready: Callable[[Process], bool],
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.log = log
        # In this order: a change of user clears the signal.
        self._command = [*as_user(user), *_dying_with_us(), *command]
        self._ready = ready
        self._environment = {**os.environ, **(environment or {})}
        self._stop_signal = stop_signal
        self._log_start_bytes = 0
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, or None while nothing runs."""
        return self._running.pid if self._running and self._running.poll() is None else None

    def start(self) -> None:
        """Start the process; it is ready only once `wait_ready` returns. A no-op while it runs."""
        if self.pid:
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as out:
            self._log_start_bytes = out.tell()
            self._running = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self._environment,
                start_new_session=True,  # Ctrl-C is for the one who started us; we stop in order
            )  # fmt: skip

    def wait_ready(self, within_s: float = READY_WITHIN_S) -> None:
        """Block until the process is ready; ServerFailed when it ends or takes longer than `within_s`."""
        end = time.monotonic() + within_s
        while not self._ready(self):
            if self.pid is None:
                raise ServerFailed(f"{self.name} ended while starting:\n{self._last_lines()}")
            if time.monotonic() > end:
                raise ServerFailed(f"{self.name} is not ready after {within_s:g} s:\n{self._last_lines()}")
            time.sleep(POLL_INTERVAL_S)

    def said(self, text: str) -> bool:
        """Tell whether the log holds `text` since the last start."""
        with self.log.open("rb") as log:
            log.seek(self._log_start_bytes)
            return text.encode() in log.read()

    def stop(self, within_s: float = STOP_WITHIN_S) -> None:
        """Ask the process to end and wait; kill it after `within_s`. A no-op while nothing runs."""
        self.ask_to_stop()
        try:
            self._wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def ask_to_stop(self) -> None:
        """Ask the process to end and do not wait."""
        self._signal(self._stop_signal)
        self._signal(signal.SIGCONT)  # a paused one could not hear

    def kill(self) -> None:
        """End the process at once (SIGKILL)."""
        self._signal(signal.SIGKILL)
        self._wait(STOP_WITHIN_S)

    def pause(self) -> None:
        """Hold the process (SIGSTOP): its connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._running:
            self._running.send_signal(number)  # knows whether the process was reaped: never hits another's id

    def _wait(self, within_s: float) -> None:
        if self._running:
            self._running.wait(within_s)

    def _last_lines(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LINES_SHOWN:])


def as_user(user: str | None) -> list[str]:
    """Return what to put before a command to run it as `user`; nothing for None."""
    return ["setpriv", "--reuid", user, "--regid", user, "--init-groups", "--"] if user else []


def _dying_with_us() -> list[str]:
    if not shutil.which("setpriv"):  # not Linux
        return []
    # Whoever finds another parent came too late for the signal: we are gone already.
    still_ours = ["sh", "-c", 'test "$PPID" = "$0" && exec "$@"', str(os.getpid())]
    return ["setpriv", "--pdeathsig", "KILL", "--", *still_ours]
