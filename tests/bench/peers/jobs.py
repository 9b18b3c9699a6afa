"""The loop of every contender's process: a job a line of JSON, an answer to each. Needs the standard library only.

What it writes is marked with `@`, for a library may print lines of its own.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any


def answer_jobs(packages: Sequence[str], answer: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
    """Tell the packages' versions, then answer job after job until standard input ends."""
    _say({"versions": {name: metadata.version(name) for name in packages}})
    for line in sys.stdin:
        _say(answer(json.loads(line)))


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Do work; return what it returns, with `wall_s` and this process's `cpu_s`."""
    wall, cpu = time.perf_counter(), time.process_time()
    made = work()
    return made, {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}


def _say(message: Mapping[str, Any]) -> None:
    sys.stdout.write("@" + json.dumps(message) + "\n")
    sys.stdout.flush()
