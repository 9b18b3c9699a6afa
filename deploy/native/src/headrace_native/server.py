"""What every server looks like from outside: how it is had (`Recipe`) and what runs (`Server`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from headrace_native.process import Process, ServerFailed

__all__ = ["Recipe", "Server", "ServerFailed", "ServerMissing"]


class ServerMissing(RuntimeError):
    """A server cannot be had on this machine; the text says what is missing and how to get it."""


@dataclass(frozen=True)
class Server:
    """A server that runs, with its state and logs under `folder`. `environment` points Headrace to it.

    `processes` are the handles for faults: one each, or one a broker. They may be stopped, killed, paused and started
    again at will, for the ports stay theirs.
    """

    name: str
    folder: Path
    version: str
    address: str
    environment: Mapping[str, str]
    processes: tuple[Process, ...]
    metrics: str | None = None
    """`host:port` whose `/metrics` Prometheus may scrape."""


@dataclass(frozen=True)
class Recipe:
    """How a server is had and started.

    `serve(folder)` keeps all its state under `folder` (made if missing; a later start there finds it again), blocks
    until the server is ready, and stops it on leaving. It raises ServerMissing or ServerFailed.
    """

    name: str
    version: Callable[[], str]
    is_built: Callable[[], bool]
    build: Callable[[], object]
    build_s: int
    """About how long `build` takes on two cores with nothing cached."""
    serve: Callable[[Path], AbstractContextManager[Server]]
