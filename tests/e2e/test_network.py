"""No connection leaves the machine while the platform runs, and no dependency leaves its device id."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import NULL_MODEL
from .folders import QUESTIONS, write_documents

pytestmark = pytest.mark.e2e
SCRIPT = """
set -e
ip link set lo up 2>/dev/null || true  # up already, but in a new namespace
"$PYTHON" -m headrace_cli up --detach
"$PYTHON" -m headrace_cli ingest "$DOCUMENTS" --wait
"$PYTHON" -m headrace_cli ask "$QUESTION" --json
"$PYTHON" -m headrace_cli down
"""


def can_unshare() -> bool:
    return (
        bool(shutil.which("unshare") and shutil.which("ip"))
        and not subprocess.run(["unshare", "-n", "true"], check=False, capture_output=True).returncode
    )


def can_strace() -> bool:
    return (
        bool(shutil.which("strace"))
        and not subprocess.run(["strace", "-o", os.devnull, "true"], check=False, capture_output=True).returncode
    )


# `connect(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("192.0.2.1")}, 16) = ...`
ADDRESS = re.compile(r'sa_family=AF_INET6?.*?(?:inet_addr\("|inet_pton\(AF_INET6, ")([^"]+)"')


def main_job(folder: Path, *wrapper: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Start, learn, answer and stop, with a new home; the wrapper is what to run it under."""
    (folder / "home").mkdir()
    cache = os.environ.get("HEADRACE_CACHE_DIR", str(Path.home() / ".cache" / "headrace"))
    environment = os.environ | NULL_MODEL | {
        "PYTHON": sys.executable,
        "HOME": str(folder / "home"),
        "HEADRACE_CACHE_DIR": cache,
        "HEADRACE_DATA_DIR": str(folder / "data"),
        "DOCUMENTS": str(write_documents(folder / "documents")),
        "QUESTION": next(iter(QUESTIONS)),
    }  # fmt: skip
    ran = subprocess.run(
        [*wrapper, "bash", "-c", SCRIPT],
        env=environment, capture_output=True, text=True, timeout=timeout_s, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert '"outcome": "answered"' in ran.stdout
    return ran


@pytest.mark.skipif(not can_strace(), reason="needs strace and the right to trace processes")
def test_nothing_tries_to_connect_to_another_machine(tmp_path: Path):
    """Every connect() of every process of the main job is to loopback: also one that would fail is seen."""
    trace = tmp_path / "connects"
    main_job(tmp_path, "strace", "-f", "-qq", "-e", "trace=connect", "-o", str(trace), timeout_s=280)
    addresses = set(ADDRESS.findall(trace.read_text()))
    assert addresses
    assert {one for one in addresses if not (one.startswith("127.") or one in ("::1", "::ffff:127.0.0.1"))} == set()


@pytest.mark.skipif(not can_unshare(), reason="needs the right to make a network namespace, and iproute2")
def test_the_main_job_runs_where_only_loopback_exists(tmp_path: Path):
    """In a network namespace without a way out the platform starts, learns, answers and stops."""
    main_job(tmp_path, "unshare", "-n", timeout_s=280)
    assert not list((tmp_path / "home").rglob("*onnxruntime*")), "ONNX Runtime left a device id"
