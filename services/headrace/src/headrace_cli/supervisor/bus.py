"""The bus under a platform: one of its own, or a Kafka that is there already.

The embedded one is a child process that forgets when it ends, and all services with it. A real Kafka outlives the
platform: only its topics are seen to, and when it is gone for a while the services wait for it.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from headrace_errors import Unavailable
from headrace_runtime import PARENT_PID

from headrace_cli.supervisor.child import last_lines
from headrace_cli.supervisor.profile import Profile
from headrace_cli.supervisor.provisioning import provision

EMBEDDED_START_S = 20.0
EMBEDDED_STOP_S = 5.0
BOOTSTRAP = "HEADRACE_KAFKA__BOOTSTRAP"
INSTANCE = "HEADRACE_KAFKA__INSTANCE"


class PlatformBus(Protocol):
    """A bus that services can use by now."""

    @property
    def bootstrap(self) -> str:
        """The brokers, `host:port` separated by commas."""
        ...

    @property
    def generation(self) -> str:
        """The id of an embedded bus's one life; empty for a bus that persists."""
        ...

    @property
    def pid(self) -> int | None:
        """The process of an embedded bus."""
        ...

    def settings(self) -> Mapping[str, str]:
        """Return the settings by which a service finds it."""
        ...

    async def ended(self) -> int:
        """Return its exit status when it is gone and the services must begin anew; never, where they need not."""
        ...

    async def stop(self) -> None:
        """Stop what was started for it."""
        ...


async def start_bus(profile: Profile, data_dir: Path, environment: Mapping[str, str]) -> PlatformBus:
    """Return the profile's bus, ready for use; ValueError or Unavailable say why there is none."""
    if profile is Profile.EMBEDDED:
        return await _start_embedded(data_dir)
    bootstrap = environment.get(BOOTSTRAP)
    if not bootstrap:
        raise ValueError(f"the profile {profile} needs a Kafka in {BOOTSTRAP}; `make up-native` starts one")
    await provision(bootstrap, environment)
    return _RealKafka(bootstrap, environment.get(INSTANCE) or _instance_of(data_dir))


@dataclass(frozen=True)
class _RealKafka:
    bootstrap: str
    instance: str
    generation: str = ""
    pid: int | None = None

    def settings(self) -> Mapping[str, str]:
        return {
            BOOTSTRAP: self.bootstrap,
            INSTANCE: self.instance,
            "HEADRACE_KAFKA__MODE": "group",
            "HEADRACE_KAFKA__GENERATION": "",
        }

    async def ended(self) -> int:
        await asyncio.Event().wait()
        return 0

    async def stop(self) -> None:
        return


class _EmbeddedBus:
    def __init__(self, process: asyncio.subprocess.Process, bootstrap: str, generation: str) -> None:
        self._process = process
        self.bootstrap, self.generation = bootstrap, generation
        self.pid: int | None = process.pid

    def settings(self) -> Mapping[str, str]:
        return {
            BOOTSTRAP: self.bootstrap,
            "HEADRACE_KAFKA__MODE": "assign",
            "HEADRACE_KAFKA__GENERATION": self.generation,
        }

    async def ended(self) -> int:
        return await self._process.wait()

    async def stop(self) -> None:
        await _end(self._process)


def _instance_of(data_dir: Path) -> str:
    """Name the platform of a data-dir: a service that is started again finds its partitions as it left them."""
    return f"{socket.gethostname()}-{zlib.crc32(str(data_dir.absolute()).encode()):08x}"


async def _start_embedded(data_dir: Path) -> PlatformBus:
    log = data_dir / "logs" / "bus.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "headrace_devbroker", "--data-dir", str(data_dir),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, start_new_session=True,
            env={**os.environ, PARENT_PID: str(os.getpid())},
        )  # fmt: skip
    try:
        hello = json.loads(await asyncio.wait_for(_first_line(process), EMBEDDED_START_S))
    except (TimeoutError, ValueError):
        await _end(process)
        raise Unavailable("the bus did not start:\n" + "\n".join(last_lines(log))) from None
    return _EmbeddedBus(process, hello["bootstrap"], hello["generation"])


async def _first_line(process: asyncio.subprocess.Process) -> bytes:
    if process.stdout is None:
        raise RuntimeError("the bus was started without a pipe")
    return await process.stdout.readline()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), EMBEDDED_STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()
