"""Brings the platform up and keeps it up: the bus first, then every service.

A dead embedded bus takes all along, and so does an address that somebody else took: the next generation has others.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from headrace.runtime.v1 import introspection_service_pb2 as pb
from headrace.runtime.v1 import introspection_service_pb2_grpc as pb_grpc
from headrace_runtime import EXIT_CANNOT_BIND

from headrace_cli.supervisor.bus import start_bus
from headrace_cli.supervisor.child import Child, bound_log
from headrace_cli.supervisor.forks import ForkServer
from headrace_cli.supervisor.generations import keep_up
from headrace_cli.supervisor.platform_file import PlatformFile, PlatformState, ServiceState
from headrace_cli.supervisor.profile import Profile, parts_of
from headrace_cli.topology import SERVICES, modules_to_share

STOP_GRACE_S = 60.0  # above what a service gives itself: drain_s of 30 s and headrace_runtime's margins
READY_POLL_S = 0.1
LOG_CHECK_S = 10.0

_OF_THE_PROCESS = {
    "PYTHONUNBUFFERED": "1",
    # Native libraries run dozens of threads; with an arena for each, what they free stays with the process.
    "MALLOC_ARENA_MAX": os.environ.get("MALLOC_ARENA_MAX", "2"),
}
"""What is read when a process begins, before it is a service."""

OnChange = Callable[[PlatformState], None]


@dataclass(frozen=True)
class UpOptions:
    """What `headrace up` was told."""

    data_dir: Path
    tenants_file: Path | None = None
    profile: Profile = Profile.EMBEDDED


class Supervisor:
    """Runs the platform in this process's event loop until `stop()`."""

    def __init__(self, options: UpOptions, on_change: OnChange = lambda _state: None) -> None:
        self._options = options
        self._file = PlatformFile(options.data_dir)
        tenants = str(options.tenants_file.absolute()) if options.tenants_file else None
        self._state = PlatformState(
            os.getpid(), str(self._file.data_dir), profile=options.profile, tenants_file=tenants
        )
        self._on_change = on_change
        self._stopping = asyncio.Event()
        self._children: dict[str, Child] = {}
        self._address_taken = asyncio.Event()
        self._forks = ForkServer(modules_to_share(), _OF_THE_PROCESS, self._file.data_dir / "logs" / "fork-server.log")

    async def run(self) -> None:
        """Hold the data-dir, bring everything up, and keep it up until `stop()`; AlreadyRunning, or Unavailable."""
        with self._file.held():
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, self.stop)
            await self._forks.start()  # it imports while the bus starts
            try:
                await keep_up(self._one_generation, stopping=self._stopping)
            finally:
                await self._forks.stop()
                self._file.remove()

    def stop(self) -> None:
        """Stop everything in order; `run` returns then."""
        self._stopping.set()

    async def _one_generation(self) -> int:
        """Live as long as one bus and its addresses do; return the exit status that ended it."""
        self._address_taken.clear()
        bus = await start_bus(self._options.profile, self._file.data_dir, os.environ)
        self._state.bootstrap, self._state.generation, self._state.bus_pid = bus.bootstrap, bus.generation, bus.pid
        self._state.parts = parts_of(self._options.profile, bus.bootstrap, os.environ)
        try:
            self._make_children(bus.settings())
            runs = [asyncio.create_task(child.run()) for child in self._children.values()]
            watches = [asyncio.create_task(self._watch_readiness()), asyncio.create_task(self._watch_logs())]
            ended = asyncio.create_task(bus.ended())
            others = [asyncio.create_task(self._stopping.wait()), asyncio.create_task(self._address_taken.wait())]
            await asyncio.wait([ended, *others], return_when=asyncio.FIRST_COMPLETED)
            status = ended.result() if ended.done() else EXIT_CANNOT_BIND
            for task in (*watches, ended, *others):
                task.cancel()
            await self._stop_children(runs, STOP_GRACE_S if self._stopping.is_set() else 0.0)
            return status
        finally:
            await bus.stop()

    def _make_children(self, bus_settings: Mapping[str, str]) -> None:
        names = [spec.name for spec in SERVICES]
        addresses = dict(zip(names, _free_addresses(len(names)), strict=True))
        shared = {**bus_settings, **self._shared_environment(addresses)}
        earlier = self._state.services
        self._state.services = {}
        for spec in SERVICES:
            own = {f"HEADRACE_{spec.name.upper()}__GRPC__LISTEN": addresses[spec.name]}
            state = ServiceState(spec.name, addresses[spec.name], str(self._log_of(spec.name)), shared | own)
            state.restarts = earlier[spec.name].restarts + 1 if spec.name in earlier else 0
            self._state.services[spec.name] = state
            self._children[spec.name] = Child(
                state, spec.module, self._forks, changed=self._changed, cannot_bind=self._address_taken.set
            )
        self._changed()

    def _shared_environment(self, addresses: Mapping[str, str]) -> dict[str, str]:
        tenants = {"HEADRACE_TENANTS_FILE": self._state.tenants_file} if self._state.tenants_file else {}
        return {
            "HEADRACE_DATA_DIR": str(self._file.data_dir),
            "HEADRACE_PEERS": json.dumps(dict(addresses)),
            **tenants,
        }

    def _log_of(self, name: str) -> Path:
        return self._file.data_dir / "logs" / f"{name}.log"

    def _changed(self) -> None:
        self._file.write(self._state)
        self._on_change(self._state)

    async def _watch_readiness(self) -> None:
        while True:
            waiting = [
                c for c in self._children.values() if c.state.state in ("starting", "restarting") and c.state.pid
            ]
            await asyncio.gather(*(_mark_if_ready(child) for child in waiting))
            await asyncio.sleep(READY_POLL_S)

    async def _watch_logs(self) -> None:
        while True:
            await asyncio.sleep(LOG_CHECK_S)
            for child in self._children.values():
                await asyncio.to_thread(bound_log, Path(child.state.log))

    async def _stop_children(self, runs: list[asyncio.Task[None]], grace_s: float) -> None:
        for child in self._children.values():
            child.stop()
        _done, pending = await asyncio.wait(runs, timeout=grace_s)
        for child in self._children.values():
            child.kill()
        if pending:
            await asyncio.wait(pending)


async def _mark_if_ready(child: Child) -> None:
    pid = child.state.pid
    status = await ask_status(child.state.address, timeout_s=0.5)
    if status and status.ready and child.state.pid == pid:
        child.set_ready()


async def ask_status(address: str, *, timeout_s: float) -> pb.GetStatusResponse | None:
    """Ask a service where it stands; None when it does not answer."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = pb_grpc.IntrospectionServiceStub(channel)
        try:
            response: pb.GetStatusResponse = await stub.GetStatus(pb.GetStatusRequest(), timeout=timeout_s)
        except grpc.aio.AioRpcError:
            return None
        return response


def _free_addresses(count: int) -> list[str]:
    """Return `count` loopback addresses with different free ports."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    finally:
        for one in sockets:
            one.close()
