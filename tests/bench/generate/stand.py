"""Environments of the peers, and contenders as processes: one at a time, warmed up, then timed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.generate.cases import BUILD_SETTINGS, CORES, REQUIREMENTS, SETTINGS, Contender

PEERS = Path(__file__).parent / "peers"
STOP_S_MAX = 30


class PeerMissing(Exception):
    """An environment could not be made, or a contender does not open; the message is its last words."""


def python_of(contender: Contender, place: Path) -> Path:
    """Return the Python that a contender runs on; its environment is made with uv, once, under the user's own index."""
    if not contender.environment:
        return Path(sys.executable)
    home = place / contender.environment
    if not (home / "installed").exists():
        uv = [sys.executable, "-m", "uv", "--quiet"]
        python = str(home / "bin" / "python")
        wanted = REQUIREMENTS[contender.environment]
        for command in (
            [*uv, "venv", "--clear", "--python", sys.executable, str(home)],
            [*uv, "pip", "install", "--python", python, *wanted],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | BUILD_SETTINGS)
            if done.returncode:
                raise PeerMissing(f"{contender.name}: {done.stderr.strip()[-400:]}")
        (home / "installed").touch()
    return home / "bin" / "python"


class Running:
    """A contender's process. It tells its versions once it is open."""

    def __init__(self, process: subprocess.Popen[str], errors: Path) -> None:
        self._process, self._errors = process, errors
        self.versions: Mapping[str, str] = self._answer()["versions"]

    def generate(self, prompts: list[list[int]], output_tokens: int) -> Mapping[str, Any]:
        """Write `output_tokens` after each prompt, all at once: `tokens`, `first_s` of each, `wall_s`, `cpu_s`."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"prompts": prompts, "output_tokens": output_tokens}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Mapping[str, Any]:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("@"):
                answer: Mapping[str, Any] = json.loads(line[1:])
                return answer
        raise PeerMissing(self._errors.read_text("utf-8", "replace").strip()[-400:])


@contextmanager
def running(contender: Contender, python: Path, model: Path, place: Path) -> Iterator[Running]:
    """Start a contender and end it with the block."""
    errors = place / f"{contender.script}.stderr"
    command = [str(python), str(PEERS / f"{contender.script}.py"), str(model), str(CORES)]
    with errors.open("w", encoding="utf-8") as stderr:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, env=os.environ | SETTINGS
        )
        try:
            yield Running(process, errors)
        finally:
            assert process.stdin
            assert process.stdout
            process.stdin.close()
            try:
                process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
