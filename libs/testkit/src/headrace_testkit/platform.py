"""The whole platform as a user runs it, from outside: the `headrace` command on a data-dir of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

UP_TIMEOUT_S = 240


@dataclass(frozen=True)
class Ran:
    """A finished command."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return the output as JSON."""
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        """Return the output as one JSON object a line."""
        return [json.loads(line) for line in self.out.splitlines() if line.strip()]


@dataclass(frozen=True)
class Platform:
    """A platform's data-dir, and the command that reaches it."""

    data_dir: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, timeout_s: float = 180, stdin: str | None = None) -> Ran:
        """Run `headrace ARGUMENTS` on this data-dir."""
        done = subprocess.run(
            command(*arguments),
            capture_output=True, text=True, timeout=timeout_s, input=stdin, check=False, env=self.env(),
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `headrace ARGUMENTS` and return at once."""
        return subprocess.Popen(
            command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.env()
        )

    def status(self) -> dict[str, Any]:
        """Return `headrace status --json`."""
        document: dict[str, Any] = self.run("status", "--json").json()
        return document

    def service(self, name: str) -> dict[str, Any]:
        """Return one service's part of the status."""
        return next(one for one in self.status()["services"] if one["name"] == name)

    def pid_of(self, name: str, *, ready: bool = False) -> int | None:
        """Return a service's pid, or its pid once it is ready, from the platform file: cheaper than a command."""
        service = json.loads((self.data_dir / "run" / "platform.json").read_text())["services"][name]
        pid: int | None = service["pid"]
        return pid if service["state"] == "ready" or not ready else None

    def up(self, *arguments: str) -> None:
        """Start the platform and wait until every service is ready."""
        ran = self.run("up", "--detach", *arguments, timeout_s=UP_TIMEOUT_S)
        if ran.code:
            raise RuntimeError(f"headrace up failed with {ran.code}:\n{ran.err}\n{self._last_logs()}")

    def down(self) -> None:
        """Stop the platform."""
        self.run("down")

    def env(self) -> dict[str, str]:
        """Return the environment of every command."""
        return {**os.environ, "HEADRACE_DATA_DIR": str(self.data_dir), **self.environment}

    def _last_logs(self) -> str:
        tails = [f"== {log.name}\n{log.read_text()[-2000:]}" for log in sorted(self.data_dir.glob("logs/*.log"))]
        return "\n".join(tails)


@contextmanager
def running_platform(
    data_dir: Path, *, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Iterator[Platform]:
    """Run a platform for the length of a test."""
    platform = Platform(data_dir, environment or {})
    platform.up(*arguments)
    try:
        yield platform
    finally:
        platform.down()


def command(*arguments: str) -> list[str]:
    """Return the command line of `headrace ARGUMENTS` in this environment."""
    return [sys.executable, "-m", "headrace_cli", *arguments]
