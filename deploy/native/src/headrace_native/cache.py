"""What was built once: `~/.cache/headrace/native/<name>-<version>-<key>/`.

HEADRACE_CACHE_DIR moves `~/.cache/headrace`. The key is a digest of all that the result depends on besides the version:
toolchain, lock files, flags. A folder appears whole or not at all, and one process at a time builds it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from headrace_native.server import ServerMissing

_KEY_DIGITS = 8


@dataclass(frozen=True)
class Artefact:
    """One thing to build: `make(folder)` fills an empty folder."""

    name: str
    version: str
    depends_on: Callable[[], str]
    make: Callable[[Path], None]

    @property
    def folder(self) -> Path:
        """Where it is, or will be."""
        key = hashlib.sha256(self.depends_on().encode()).hexdigest()[:_KEY_DIGITS]
        return _root() / f"{self.name}-{self.version}-{key}"

    def is_built(self) -> bool:
        """Tell whether it is there."""
        return self.folder.is_dir()

    def build(self) -> Path:
        """Build it unless it is there, and return its folder."""
        with _only_one(_root() / f".{self.name}.lock"):
            if not self.is_built():
                scratch = _root() / f".{self.name}.{os.getpid()}"
                try:
                    scratch.mkdir()
                    self.make(scratch)
                    scratch.rename(self.folder)
                finally:
                    shutil.rmtree(scratch, ignore_errors=True)
        return self.folder


def verify(folder: Path, listed: str) -> None:
    """Check that `folder` holds exactly the files of `listed` (lines of `sha256  name`, as sha256sum writes them)."""
    expected = {name: sha256 for sha256, name in (line.split() for line in listed.splitlines())}
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if wrong:
        raise ServerMissing(f"what was downloaded is not what was listed: {', '.join(wrong)}")


def _root() -> Path:
    root = Path(os.environ.get("HEADRACE_CACHE_DIR", "~/.cache/headrace")).expanduser() / "native"
    root.mkdir(parents=True, exist_ok=True)
    return root


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
