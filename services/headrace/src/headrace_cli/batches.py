"""Many lines at once: bounded concurrency, results in input order, and a run that can be taken up again."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from headrace_cli.output import progress

Result = TypeVar("Result")


def read_lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 file that are not blank."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip()]


class Batch(Generic[Result]):
    """Runs `one(number, line)` for every line, at most `concurrency` at a time."""

    def __init__(self, one: Callable[[int, str], Awaitable[Result]], concurrency: int) -> None:
        self._one, self._concurrency = one, concurrency

    async def run(self, lines: Sequence[str]) -> AsyncIterator[Result]:
        """Yield each line's result in input order, as soon as it and all before it are there."""
        running: deque[asyncio.Task[Result]] = deque()
        with progress() as bar:
            shown = bar.add_task("working", total=len(lines))
            try:
                for number, line in enumerate(lines):
                    # Only so many results may wait for a slow one before them: memory stays bounded.
                    if len(running) >= self._concurrency:
                        yield await running.popleft()
                        bar.advance(shown)
                    running.append(asyncio.ensure_future(self._one(number, line)))
                while running:
                    yield await running.popleft()
                    bar.advance(shown)
            finally:
                for task in running:
                    task.cancel()


class RunFile:
    """Remembers a run's id until it is finished, so that an interrupted one goes on with the same idempotency keys."""

    def __init__(self, path: Path, run_id: str) -> None:
        self._path, self._run_id = path, run_id

    @classmethod
    def open(
        cls, data_dir: Path, lines: Sequence[str], tenant: str, principal: str, options: dict[str, Any]
    ) -> RunFile:
        """Take up the unfinished run of just these lines for this tenant and principal, or begin one."""
        identity = json.dumps([list(lines), tenant, principal, options], sort_keys=True).encode()
        path = data_dir / "runs" / f"{hashlib.sha256(identity).hexdigest()[:32]}.run"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(str(uuid.uuid4()), encoding="utf-8")
        return cls(path, path.read_text(encoding="utf-8").strip())

    def key(self, number: int) -> str:
        """Return the idempotency key of one line, which is its request id too."""
        return str(uuid.uuid5(uuid.UUID(self._run_id), str(number)))

    def finish(self) -> None:
        """Forget the run: the next one with the same lines asks anew."""
        self._path.unlink(missing_ok=True)
