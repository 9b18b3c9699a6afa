"""Environments of the peers, and contenders as processes: one at a time, warmed up, then timed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.embed.contenders import REQUIREMENTS, Contender

PEERS = Path(__file__).parent / "peers"
_STOP_S_MAX = 30


class PeerMissing(Exception):
    """An environment could not be made, or a contender does not open; the message is its last words."""


def install(environment: str, place: Path) -> Path:
    """Make an environment with uv, once, under the user's own index; return its Python."""
    python = place / environment / "bin" / "python"
    marker = place / environment / "installed"
    if marker.exists():
        return python
    uv = [sys.executable, "-m", "uv", "--quiet"]
    for command in (
        [*uv, "venv", "--clear", "--python", sys.executable, str(place / environment)],
        [*uv, "pip", "install", "--python", str(python), *REQUIREMENTS[environment]],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise PeerMissing(f"{environment}: {done.stderr.strip()[-400:]}")
    marker.touch()
    return python


class Running:
    """A contender's process."""

    def __init__(self, process: subprocess.Popen[str], errors: Path) -> None:
        self._process, self._errors = process, errors
        self.versions: Mapping[str, str] = self._answer()["versions"]

    def embed(self, texts: Path, vectors: Path | None = None) -> Mapping[str, float]:
        """Embed a file of texts; returns `wall_s` and `cpu_s`."""
        assert self._process.stdin
        self._process.stdin.write(
            json.dumps({"texts": str(texts), "vectors": str(vectors) if vectors else None}) + "\n"
        )
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
def running(contender: Contender, python: Path, place: Path) -> Iterator[Running]:
    """Start a contender and end it with the block."""
    errors = place / "stderr.txt"
    environment = os.environ | {"ORT_DISABLE_TELEMETRY": "1", "PYTHONWARNINGS": "ignore"}
    command: Sequence[str] = [
        str(python), str(PEERS / f"{contender.script}.py"), str(contender.folder), json.dumps(contender.config)
    ]  # fmt: skip
    with errors.open("w", encoding="utf-8") as stderr:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment
        )
        try:
            yield Running(process, errors)
        finally:
            assert process.stdin
            process.stdin.close()
            try:
                process.wait(_STOP_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout
            process.stdout.close()
