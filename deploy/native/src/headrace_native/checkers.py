"""The programs and schemas that judge what we write for others: official ones, pinned, cached like the servers.

They say whether docs/asyncapi.yaml is AsyncAPI, docker-compose.yml is a compose file, and alert rules are Prometheus's.
What the files should say besides is up to the tests.
"""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from pathlib import Path

from headrace_native import go, tools
from headrace_native.cache import Artefact
from headrace_native.server import ServerMissing

_SPECS = "@asyncapi/specs"  # Apache-2.0
_SPECS_VERSION = "6.11.1"
_SPECS_SHA256 = "01af8744dc33c0c7eb2e908f6a955319ee58b70ecadc9387d1aeb16c0cd28928"
_SCHEMA = "package/schemas/3.0.0.json"

# The loader of Docker Compose v2 itself: schema, interpolation, consistency. Its command is called `cmd`.
_COMPOSE = go.program("cmd", "github.com/compose-spec/compose-go/v2/cmd", "2.16.2")


def asyncapi_schema() -> Path:
    """Return the official JSON schema of AsyncAPI 3.0; ServerMissing where npm cannot fetch it."""
    return _ASYNCAPI.build() / Path(_SCHEMA).name


def compose_loader() -> Path:
    """Return the program that loads a compose file, prints it resolved, and fails where it is wrong."""
    return _COMPOSE.build() / "bin" / "cmd"


def promtool() -> str:
    """Return the program that checks Prometheus's configuration and runs unit tests of rules."""
    return tools.require("promtool", ["prometheus"])


def _fetch_asyncapi(folder: Path) -> None:
    if not shutil.which("npm"):
        raise ServerMissing("npm is not installed")
    archive = folder / tools.run(["npm", "pack", "--silent", f"{_SPECS}@{_SPECS_VERSION}"], cwd=folder).split()[-1]
    if hashlib.sha256(archive.read_bytes()).hexdigest() != _SPECS_SHA256:
        raise ServerMissing(f"{archive.name} is not what was pinned")
    with tarfile.open(archive) as content:
        member = content.extractfile(_SCHEMA)
        if member is None:
            raise ServerMissing(f"{archive.name} has no {_SCHEMA}")
        (folder / Path(_SCHEMA).name).write_bytes(member.read())
    archive.unlink()


_ASYNCAPI = Artefact("asyncapi-specs", _SPECS_VERSION, depends_on=lambda: _SPECS_SHA256, make=_fetch_asyncapi)
