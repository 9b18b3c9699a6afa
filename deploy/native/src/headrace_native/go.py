"""Servers built from Go modules: one binary each, cached by version and toolchain.

Module versions are immutable and checked against the public checksum database by the go command itself.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from headrace_native import toolchain, tools
from headrace_native.cache import Artefact

# A build takes every core for minutes: whatever else runs goes first.
_NICE = ("nice", "-n", "10")


def program(name: str, package: str, version: str) -> Artefact:
    """Return the artefact that holds `bin/<name>`, installed from `package` at `version` ("1.2.3")."""
    at = f"{package}@v{version}"
    return Artefact(
        name,
        version,
        depends_on=lambda: f"{at} {toolchain.version()}",
        make=lambda folder: _go("install", at, environment={"GOBIN": str(folder / "bin")}),
    )


def program_with_replaces(name: str, module: str, version: str, package: str) -> Artefact:
    """Return the artefact that holds `bin/<name>`, built from `package` of a module whose go.mod has `replace` lines.

    `go install` refuses such a module; one of our own that requires it repeats the lines and its checksums.
    """
    at = f"{module}@v{version}"

    def make(folder: Path) -> None:
        go = toolchain.command()
        source = Path(json.loads(tools.run([go, "mod", "download", "-json", at]))["Dir"])
        shutil.copyfile(source / "go.sum", folder / "go.sum")
        (folder / "go.mod").write_text(f"module headrace.native/{name}\n")
        declared = json.loads(tools.run([go, "mod", "edit", "-json", str(source / "go.mod")]))
        lines = [f"-replace={_at(one['Old'])}={_at(one['New'])}" for one in declared["Replace"]]
        # Its go line too: without it the whole module graph would be asked for, also what no build needs.
        tools.run([go, "mod", "edit", f"-go={declared['Go']}", f"-require={at}", *lines], cwd=folder)
        _go("build", "-mod=mod", "-o", str(folder / "bin" / name), package, cwd=folder)

    return Artefact(name, version, depends_on=lambda: f"{at} {package} {toolchain.version()}", make=make)


def _go(command: str, *arguments: str, environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> None:
    tools.run([*_NICE, toolchain.command(), command, "-ldflags=-s -w", *arguments], environment=environment, cwd=cwd)


def _at(replaced: Mapping[str, str]) -> str:
    return "@".join(part for part in (replaced["Path"], replaced.get("Version")) if part)
