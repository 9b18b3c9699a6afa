"""Contenders as processes: in an environment of their own where they need one, asked by lines of JSON (peers/jobs.py).

What is asked, and what it means, is each benchmark's own affair.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ENVIRONMENTS = Path(__file__).parents[2] / "build" / "bench" / "environments"
_JOBS = Path(__file__).parent / "peers"
_STOP_S_MAX = 30
_LAST_WORDS_CHARS = 400
_NOTHING: Mapping[str, str] = {}


class PeerMissing(Exception):
    """An environment could not be made, or a contender does not open; the message is its last words."""


def install(
    environment: str, requirements: Sequence[str], settings: Mapping[str, str] = _NOTHING, place: Path = ENVIRONMENTS
) -> Path:
    """Make an environment with uv, once for these requirements, under the user's own index; return its Python."""
    home = place / environment
    python, marker = home / "bin" / "python", home / "installed"
    if marker.exists() and marker.read_text("utf-8") == "\n".join(requirements):
        return python
    uv = [sys.executable, "-m", "uv", "--quiet"]
    for command in (
        [*uv, "venv", "--clear", "--python", sys.executable, str(home)],
        [*uv, "pip", "install", "--python", str(python), *requirements],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | settings)
        if done.returncode:
            raise PeerMissing(f"{environment}: {done.stderr.strip()[-_LAST_WORDS_CHARS:]}")
    marker.write_text("\n".join(requirements), "utf-8")
    return python


class PeerProcess:
    """A contender that runs. It tells its versions once it is open."""

    def __init__(self, process: subprocess.Popen[str], errors: Path) -> None:
        self._process, self._errors = process, errors
        self.versions: Mapping[str, str] = self._answer()["versions"]

    def ask(self, job: Mapping[str, Any]) -> Mapping[str, Any]:
        """Give it a job, and wait for the answer. Raises PeerMissing when it dies."""
        assert self._process.stdin
        with suppress(BrokenPipeError):  # its last words come in the answer's place
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Mapping[str, Any]:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("@"):
                answer: Mapping[str, Any] = json.loads(line[1:])
                return answer
        raise PeerMissing(self._errors.read_text("utf-8", "replace").strip()[-_LAST_WORDS_CHARS:])


@contextmanager
def running(command: Sequence[str], errors: Path, settings: Mapping[str, str] = _NOTHING) -> Iterator[PeerProcess]:
    """Start a contender, whose errors go to a file, and end it with the block."""
    environment = os.environ | {"PYTHONPATH": str(_JOBS)} | settings
    with errors.open("w", encoding="utf-8") as stderr:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment
        )
        try:
            yield PeerProcess(process, errors)
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    assert process.stdout
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(_STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
