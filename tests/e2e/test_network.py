"""No connection leaves the machine while the platform runs, and no dependency leaves its device id."""

import os
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
ip link set lo up
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


@pytest.mark.skipif(not can_unshare(), reason="needs the right to make a network namespace, and iproute2")
def test_the_main_job_runs_where_only_loopback_exists(tmp_path: Path):
    """In a network namespace without a way out the platform starts, learns, answers and stops."""
    home = tmp_path / "home"
    home.mkdir()
    cache = os.environ.get("HEADRACE_CACHE_DIR", str(Path.home() / ".cache" / "headrace"))
    environment = os.environ | NULL_MODEL | {
        "PYTHON": sys.executable,
        "HOME": str(home),
        "HEADRACE_CACHE_DIR": cache,
        "HEADRACE_DATA_DIR": str(tmp_path / "data"),
        "DOCUMENTS": str(write_documents(tmp_path / "documents")),
        "QUESTION": next(iter(QUESTIONS)),
    }  # fmt: skip
    ran = subprocess.run(
        ["unshare", "-n", "bash", "-c", SCRIPT],
        env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert '"outcome": "answered"' in ran.stdout
    assert not list(home.rglob("*onnxruntime*")), "ONNX Runtime left a device id"
