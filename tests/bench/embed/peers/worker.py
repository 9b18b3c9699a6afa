"""A contender as a process: reads jobs as JSON lines, answers each with its times. Runs in any environment with numpy.

Started as `python PEER.py FOLDER CONFIG`; a peer calls `serve(open)`. A job is `{"texts": FILE, "vectors": FILE
or null}`; the answer is `{"wall_s", "cpu_s"}`. The clock runs from strings to an array in memory.
"""

import importlib.metadata
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Embed = Callable[[Sequence[str]], Any]


def serve(open_peer: Callable[[Path, dict[str, Any]], Embed], packages: Sequence[str]) -> None:
    """Open the peer, say so with its versions, and work until standard input ends."""
    embed = open_peer(Path(sys.argv[1]), json.loads(sys.argv[2]))
    _answer({"versions": {name: importlib.metadata.version(name) for name in packages}})
    for line in sys.stdin:
        job = json.loads(line)
        texts = json.loads(Path(job["texts"]).read_text("utf-8"))
        wall, cpu = time.perf_counter(), time.process_time()
        vectors = np.asarray(embed(texts), np.float32)
        times = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        if job["vectors"]:
            np.save(job["vectors"], vectors)
        _answer(times)


def _answer(message: dict[str, Any]) -> None:
    sys.stdout.write("@" + json.dumps(message) + "\n")  # marked: a library may print lines of its own
    sys.stdout.flush()
