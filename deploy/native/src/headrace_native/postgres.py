"""PostgreSQL from its Debian package (or any on the PATH), with a password and on the loopback only."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from headrace_native import tools
from headrace_native.ports import HOST, free_ports
from headrace_native.process import Process, as_user
from headrace_native.server import Recipe, Server, ServerMissing

PACKAGES = ("postgresql", "postgresql-client")
OWNER = "headrace"
_DEBIAN = "/usr/lib/postgresql"
_SETTINGS = {"max_connections": "300", "listen_addresses": HOST, "unix_socket_directories": "", "timezone": "UTC"}


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Start a server with its own data; its default database is empty. Durable as PostgreSQL is by default."""
    binaries = _binaries() or _install()
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    data = folder / "data"
    if not data.exists():
        _initialise(binaries, folder, data, user)
    (port,) = free_ports(1)
    settings = [f"--{name}={value}" for name, value in {**_SETTINGS, "port": str(port)}.items()]
    process = Process(
        "postgres",
        [str(binaries / "postgres"), "-D", str(data), *settings],
        log=folder / "postgres.log",
        ready=lambda _: _answers(binaries, port),
        user=user,
        stop_signal=signal.SIGINT,  # "fast": open connections are closed; SIGTERM would wait for them
    )
    try:
        process.start()
        process.wait_ready()
        address = f"{OWNER}:{(folder / 'password').read_text()}@{HOST}:{port}/postgres"
        environment = {"HEADRACE_SQL__URL": f"postgresql+asyncpg://{address}"}
        yield Server("postgres", folder, version(), f"postgresql://{address}", environment, (process,))
    finally:
        process.stop()


def create_database(server: Server, name: str) -> str:
    """Create an empty database and return its URL, as SQLAlchemy takes it."""
    query(server.address, f'CREATE DATABASE "{name}"')
    return urlsplit(server.environment["HEADRACE_SQL__URL"])._replace(path=f"/{name}").geturl()


def query(address: str, sql: str) -> str:
    """Run one statement with psql and return the rows, one a line, columns separated by `|`."""
    binaries = _binaries() or _install()
    return tools.run([str(binaries / "psql"), address, "-v", "ON_ERROR_STOP=1", "-qAtX", "-c", sql]).strip()


def version() -> str:
    """Return the version of the server that would be started; empty when there is none."""
    binaries = _binaries()
    return re.findall(r"[\d.]+", tools.run([str(binaries / "postgres"), "--version"]))[0] if binaries else ""


def _initialise(binaries: Path, folder: Path, data: Path, user: str | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    password = folder / "password"
    password.touch(mode=0o600)
    password.write_text(secrets.token_hex(16))
    if user:
        for path in (folder, password):
            shutil.chown(path, user, user)
        _check_passage(folder, user)
    tools.run([
        *as_user(user), str(binaries / "initdb"), "-D", str(data), "-U", OWNER, "-A", "scram-sha-256",
        f"--pwfile={password}", "-E", "UTF8", "--locale=C.UTF-8",
    ])  # fmt: skip


def _check_passage(folder: Path, user: str) -> None:
    if subprocess.run([*as_user(user), "test", "-x", str(folder)], check=False).returncode != 0:
        raise ServerMissing(f"user {user} cannot reach {folder}: a folder above it is closed to other users")


def _answers(binaries: Path, port: int) -> bool:
    command = [str(binaries / "pg_isready"), "-q", "-h", HOST, "-p", str(port)]
    return subprocess.run(command, check=False).returncode == 0


def _build() -> None:
    if not _binaries():
        _install()


def _install() -> Path:
    tools.install(PACKAGES)
    binaries = _binaries()
    if not binaries:
        raise ServerMissing(f"no {_DEBIAN}/*/bin/initdb although {' '.join(PACKAGES)} is installed")
    return binaries


def _binaries() -> Path | None:
    # Debian keeps the server's programs off the PATH, one folder a version.
    debian = sorted(Path(_DEBIAN).glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    if debian:
        return debian[-1].parent
    return Path(on_path).resolve().parent if on_path else None


RECIPE = Recipe("postgres", version, is_built=lambda: _binaries() is not None, build=_build, build_s=20, serve=serve)
