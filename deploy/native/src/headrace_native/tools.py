"""The programs that recipes need: found on this machine, or installed from Debian where we are root.

Everything here belongs to building; running servers is process.py's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from headrace_native.server import ServerMissing

# So that installing a server's package starts no server: invoke-rc.d heeds the run level.
_QUIET = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}


def require(program: str, packages: Sequence[str]) -> str:
    """Return the path of `program`; as root on Debian, install `packages` to get it. ServerMissing otherwise."""
    found = shutil.which(program)
    if found:
        return found
    install(packages)
    found = shutil.which(program)
    if not found:
        raise ServerMissing(f"{program} is missing although {' '.join(packages)} is installed")
    return found


def install(packages: Sequence[str]) -> None:
    """Install Debian packages as root; ServerMissing says what to do where that is not possible."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise ServerMissing(f"not installed: as root, apt-get install {' '.join(packages)}")
    run(["apt-get", "-q", "update"], environment=_QUIET)
    run(["apt-get", "-q", "install", "-y", "--no-install-recommends", *packages], environment=_QUIET)


def run(command: Sequence[str], *, environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a build step and return its output; ServerMissing with the end of what it said when it fails."""
    done = subprocess.run(
        command, env={**os.environ, **(environment or {})}, cwd=cwd, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise ServerMissing(f"`{' '.join(command)}` failed ({done.returncode}):\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout
