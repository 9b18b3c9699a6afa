"""The meter process of a run, killed at will and started again, and the command that asks it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from chaos.waiting import wait_until

_READY_WITHIN_S = 180.0
_LOOK_S = 0.05
_WORK_WITHIN_S = 60.0  # after the last usage was told: the backlog
_STOP_WITHIN_S = 60.0


class Service:
    """One meter after another under one name, as a supervisor would have it."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._environment = {**os.environ, **environment, "HEADRACE_DATA_DIR": str(folder)}
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.lives = 0

    def start(self) -> None:
        """Start it and wait until it takes work."""
        self.lives += 1
        log = self._folder / f"meter-{self.lives}.log"
        with log.open("wb") as out:
            command = [sys.executable, "-m", "headrace_meter"]
            self._process = subprocess.Popen(command, env=self._environment, stdout=out, stderr=out)
        wait_until(lambda: self._ready(log), _READY_WITHIN_S, f"a ready meter ({log})")

    def has_worked(self) -> bool:
        """Tell whether this life has booked anything yet."""
        log = (self._folder / f"meter-{self.lives}.log").read_text(errors="replace")
        return '"messages.processed"' in log or '"message.processed"' in log

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def stop(self) -> None:
        """End it in order."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def total_of(self, tenant: str) -> Decimal:
        """Return what `headrace costs` says that a tenant has spent."""
        log = (self._folder / f"meter-{self.lives}.log").read_text()
        ready = json.loads(next(line for line in log.splitlines() if '"service.ready"' in line))
        ran = subprocess.run(
            [sys.executable, "-m", "headrace_cli", "costs", "--tenant", tenant, "--by", "model", "--json"],
            env=self._environment | {"HEADRACE_PEERS__METER": f"127.0.0.1:{ready['port']}"},
            capture_output=True,
            text=True,
            check=True,
            timeout=_READY_WITHIN_S,
        )
        return Decimal(json.loads(ran.stdout)["total_cost"])

    def _ready(self, log: Path) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"meter ended by itself:\n{log.read_text()[-2000:]}")
        return '"service.ready"' in log.read_text()


class Killer(threading.Thread):
    """Kills the service a few seconds into the work of each life and starts it again, until `finish`.

    `kills` counts those that met it at work; one that has nothing to do is left alone, for it has nothing to lose.
    """

    def __init__(self, service: Service, seed: int, *, every_s: tuple[float, float]) -> None:
        super().__init__(daemon=True, name="killer")
        self._service, self._random, self._every_s = service, random.Random(seed + 2), every_s
        self._over = threading.Event()
        self.kills = 0
        self.failure: Exception | None = None

    def run(self) -> None:
        """Kill and start again."""
        try:
            while not self._over.wait(_LOOK_S):
                if self._service.has_worked() and not self._over.wait(self._random.uniform(*self._every_s)):
                    self._service.kill()
                    self.kills += 1
                    self._service.start()
        except Exception as error:
            self.failure = error

    def finish(self, kills_min: int) -> None:
        """Kill no more, once there were so many or no work came up for a while; leave the service running."""
        until = time.monotonic() + _WORK_WITHIN_S
        while self.kills < kills_min and self.is_alive() and time.monotonic() < until:
            time.sleep(_LOOK_S)
        self._over.set()
        self.join()
        if self.failure is not None:
            raise self.failure
