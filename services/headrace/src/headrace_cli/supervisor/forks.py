"""Starts service processes as forks of one that has imported what they share; the other side of its fork server.

A fork is used as a subprocess of asyncio is: `pid`, `returncode`, `send_signal`, `wait`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from headrace_runtime import PARENT_PID

FORK_S = 120.0
"""How long a fork may take, the imports before the first one included."""


class NotForked(OSError):
    """There is no process; `status` is how it would have ended, negative where a signal ended the server."""

    def __init__(self, why: str, status: int = 1) -> None:
        super().__init__(why)
        self.status = status


class Fork:
    """A process that a fork server started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def returncode(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._status.result() if self._status.done() else None

    async def wait(self) -> int:
        """Wait for its end and return the exit status."""
        return await asyncio.shield(self._status)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        _signal(self, number)

    def end(self, status: int) -> None:
        """Note how it ended."""
        self._status.set_result(status)


class ForkServer:
    """Forks processes off one that has imported `modules`; a server that was killed is replaced at the next fork."""

    def __init__(self, modules: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._command = [sys.executable, "-m", "headrace_runtime.fork_server", *modules]
        self._environment = {**os.environ, **environment, PARENT_PID: str(os.getpid())}
        self._log = log
        self._server: _Server | None = None
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Start the server where none runs; its imports go on while others do other things."""
        await self._running()

    async def fork(self, module: str, environment: Mapping[str, str], log: Path) -> Fork:
        """Start `python -m MODULE` as a fork; NotForked, after FORK_S at the latest, says why there is none."""
        server = await self._running()
        return await server.fork({"module": module, "environment": dict(environment), "log": str(log)})

    async def stop(self) -> None:
        """End the server, and with it what it has forked."""
        if self._server:
            await self._server.stop()

    async def _running(self) -> _Server:
        async with self._starting:
            if self._server is None or not self._server.alive:
                self._server = await self._spawn()
            return self._server

    async def _spawn(self) -> _Server:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=self._environment,
                start_new_session=True,  # Ctrl-C reaches the supervisor only: it stops the services in order
            )  # fmt: skip
        return _Server(process, self._log)


class _Server:
    """One life of the server. It answers orders in their turn."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a fork server needs pipes")
        self._process, self._log = process, log
        self._orders, self._answers = process.stdin, process.stdout
        self._ordered: deque[asyncio.Future[Fork]] = deque()
        self._forks: dict[int, Fork] = {}
        self._reading = asyncio.create_task(self._read())

    @property
    def alive(self) -> bool:
        return not self._reading.done()

    async def fork(self, order: Mapping[str, object]) -> Fork:
        forked: asyncio.Future[Fork] = asyncio.get_running_loop().create_future()
        self._ordered.append(forked)
        self._orders.write(json.dumps(order).encode() + b"\n")
        try:
            async with asyncio.timeout(FORK_S):
                return await forked
        except TimeoutError:
            await self.stop()  # what it forks later would be nobody's
            raise NotForked(f"no fork within {FORK_S:g} s; see {self._log}") from None

    async def stop(self) -> None:
        self._kill()
        await asyncio.wait([self._reading])

    async def _read(self) -> None:
        try:
            async for line in self._answers:
                self._note(json.loads(line))
        finally:
            self._kill()
            status = await self._process.wait()
            for fork in self._forks.values():
                fork.send_signal(signal.SIGKILL)  # where the kernel does not do it
                fork.end(-signal.SIGKILL)
            for forked in self._ordered:
                if not forked.done():
                    why = f"the fork server ended with status {status}; see {self._log}"
                    forked.set_exception(NotForked(why, status or 1))

    def _note(self, answer: Mapping[str, Any]) -> None:
        if "status" in answer:
            if fork := self._forks.pop(answer["pid"], None):  # not a process that an import has left behind
                fork.end(answer["status"])
            return
        forked = self._ordered.popleft()
        if "pid" in answer:
            fork = self._forks[answer["pid"]] = Fork(answer["pid"])
            if forked.done():  # nobody waits for it any more
                fork.send_signal(signal.SIGKILL)
            else:
                forked.set_result(fork)
        elif not forked.done():
            forked.set_exception(NotForked(answer["error"]))

    def _kill(self) -> None:
        # Not by asyncio's own `kill`: it may take an exit status away that asyncio waits for, and 255 be told instead.
        _signal(self._process, signal.SIGKILL)


def _signal(process: Fork | asyncio.subprocess.Process, number: signal.Signals) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)
