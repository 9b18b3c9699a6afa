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

FORK_S = 60.0
"""How long a fork may take, the imports before the first one included."""


class Fork:
    """A process that a fork server started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status = asyncio.get_running_loop().create_future()

    @property
    def returncode(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._status.result() if self._status.done() else None

    async def wait(self) -> int:
        """Wait for its end and return the exit status."""
        return int(await asyncio.shield(self._status))

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

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
        """Start `python -m MODULE` as a fork; OSError, or TimeoutError after FORK_S, says why there is none."""
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
        return _Server(process)


class _Server:
    """One life of the server. It answers orders in their turn."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ordered: deque[asyncio.Future[Fork]] = deque()
        self._forks: dict[int, Fork] = {}
        self._reading = asyncio.create_task(self._read())

    @property
    def alive(self) -> bool:
        return not self._reading.done()

    async def fork(self, order: Mapping[str, object]) -> Fork:
        if self._process.stdin is None:
            raise RuntimeError("the fork server was started without a pipe")
        forked: asyncio.Future[Fork] = asyncio.get_running_loop().create_future()
        self._ordered.append(forked)
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        try:
            async with asyncio.timeout(FORK_S):
                return await forked
        except TimeoutError:
            await self.stop()  # what it forks later would be nobody's
            raise

    async def stop(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        await asyncio.wait([self._reading])

    async def _read(self) -> None:
        if self._process.stdout is None:
            raise RuntimeError("the fork server was started without a pipe")
        async for line in self._process.stdout:
            self._note(json.loads(line))
        await self._process.wait()
        for fork in self._forks.values():
            fork.send_signal(signal.SIGKILL)  # where the kernel does not do it
            fork.end(-signal.SIGKILL)
        for forked in self._ordered:
            if not forked.done():
                forked.set_exception(OSError("the fork server ended"))

    def _note(self, answer: Mapping[str, Any]) -> None:
        if "status" in answer:
            self._forks.pop(answer["pid"]).end(answer["status"])
            return
        forked = self._ordered.popleft()
        if "error" in answer:
            forked.set_exception(OSError(answer["error"]))
            return
        fork = self._forks[answer["pid"]] = Fork(answer["pid"])
        if forked.cancelled():
            fork.send_signal(signal.SIGKILL)
        else:
            forked.set_result(fork)
