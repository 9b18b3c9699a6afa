"""Servers for many tests: each starts at its first use, all stop together, and the account says which were there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from headrace_native.recipes import RECIPES
from headrace_native.scratch import scratch
from headrace_native.server import Server, ServerFailed, ServerMissing

# A test run builds what takes less, and only tells of what takes more.
BUILD_UNASKED_S_MAX = 60


class Pool:
    """Servers by name. `used` and `missing` tell which were asked for: their versions, or why they are not there."""

    def __init__(self, folder: Path, running: ExitStack, *, build_s_max: float = BUILD_UNASKED_S_MAX) -> None:
        self._folder = folder
        self._running = running
        self._build_s_max = build_s_max
        self._servers: dict[str, Server] = {}
        self._starts = 0
        self.used: dict[str, str] = {}
        self.missing: dict[str, str] = {}

    def shared(self, name: str) -> Server:
        """Return the one server of that name, started if need be; ServerMissing when it cannot be had."""
        if name not in self._servers:
            self._servers[name] = self._running.enter_context(self.own(name))
        return self._servers[name]

    @contextmanager
    def own(self, name: str) -> Iterator[Server]:
        """Run a server that nobody else uses for the length of the block: for tests that break it."""
        if name in self.missing:  # asked once, not again
            raise ServerMissing(self.missing[name])
        self._starts += 1
        with ExitStack() as running:
            try:
                self._build(name)
                server = running.enter_context(RECIPES[name].serve(self._folder / f"{name}-{self._starts}"))
            except (ServerMissing, ServerFailed) as error:
                self.missing[name] = str(error)
                raise ServerMissing(str(error)) from error
            self.used[name] = server.version
            yield server

    def _build(self, name: str) -> None:
        recipe = RECIPES[name]
        if not recipe.is_built() and recipe.build_s > self._build_s_max:
            raise ServerMissing(f"run `python -m headrace_native build {name}` once (about {recipe.build_s} s)")
        recipe.build()


@contextmanager
def pool(*, build_s_max: float = BUILD_UNASKED_S_MAX) -> Iterator[Pool]:
    """Open an empty pool; leaving stops every server and forgets its data."""
    with scratch() as folder, ExitStack() as running:
        yield Pool(folder, running, build_s_max=build_s_max)
