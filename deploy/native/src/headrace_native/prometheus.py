"""Prometheus from its Debian package. It scrapes itself, and what `scrape` names."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from headrace_native import tools
from headrace_native.ports import HOST, free_ports
from headrace_native.process import Process
from headrace_native.readiness import answers
from headrace_native.server import Recipe, Server

PACKAGES = ("prometheus",)
SCRAPE_INTERVAL_S = 5
_TARGETS = "targets.json"


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Start Prometheus; `address` is the URL of its query API (`/api/v1`)."""
    binary = _program()
    (port,) = free_ports(1)
    _name_targets(folder, [])
    configuration = folder / "prometheus.json"  # YAML reads JSON
    configuration.write_text(json.dumps(_configuration(port, folder / _TARGETS)))
    process = Process(
        "prometheus",
        [
            binary, f"--config.file={configuration}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={HOST}:{port}", "--web.enable-lifecycle",
        ],
        log=folder / "prometheus.log",
        ready=answers(port, "/-/ready"),
    )  # fmt: skip
    try:
        process.start()
        process.wait_ready()
        yield Server("prometheus", folder, version(), f"http://{HOST}:{port}", {}, (process,))
    finally:
        process.stop()


def scrape(server: Server, targets: Sequence[str]) -> None:
    """Have the server scrape `targets` (`host:port`), and nothing that was named before."""
    _name_targets(server.folder, targets)


def _name_targets(folder: Path, targets: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f"{_TARGETS}.new"
    new.write_text(json.dumps([{"targets": list(targets)}]))
    new.replace(folder / _TARGETS)


def version() -> str:
    """Return the version of the installed server; empty when there is none."""
    binary = shutil.which("prometheus")
    return re.findall(r"version ([\d.]+)", tools.run([binary, "--version"]))[0] if binary else ""


def _configuration(port: int, targets: Path) -> dict[str, object]:
    return {
        "global": {"scrape_interval": f"{SCRAPE_INTERVAL_S}s"},
        "scrape_configs": [
            {"job_name": "prometheus", "static_configs": [{"targets": [f"{HOST}:{port}"]}]},
            {"job_name": "headrace", "file_sd_configs": [{"files": [str(targets)]}]},
        ],
    }


def _program() -> str:
    return tools.require("prometheus", PACKAGES)


RECIPE = Recipe("prometheus", version, lambda: bool(version()), _program, build_s=20, serve=serve)
