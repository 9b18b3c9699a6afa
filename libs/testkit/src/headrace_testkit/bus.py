"""The embedded bus as a test uses it: a process of its own, gone with the test."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace_messaging import Bus


@contextmanager
def embedded_bus(data_dir: Path) -> Iterator[Bus]:
    """Run an embedded bus with every declared topic."""
    command = [sys.executable, "-m", "headrace_devbroker", "--data-dir", str(data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            if process.stdout is None:
                raise RuntimeError("the bus was started without a pipe")
            hello = json.loads(process.stdout.readline())
            yield Bus(hello["bootstrap"], generation=hello["generation"], embedded=True)
        finally:
            process.terminate()
            process.wait(10)
