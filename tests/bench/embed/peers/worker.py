"""A contender of the embedding benchmark: `python PEER.py FOLDER CONFIG`. Runs in any environment with numpy.

A job is `{"texts": FILE, "vectors": FILE or null}`; the clock runs from strings to an array in memory.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jobs import answer_jobs, timed

Embed = Callable[[Sequence[str]], Any]


def serve(open_peer: Callable[[Path, dict[str, Any]], Embed], packages: Sequence[str]) -> None:
    """Open the peer, and work until standard input ends."""
    embed = open_peer(Path(sys.argv[1]), json.loads(sys.argv[2]))

    def answer(job: Mapping[str, Any]) -> Mapping[str, float]:
        texts = json.loads(Path(job["texts"]).read_text("utf-8"))
        vectors, times = timed(lambda: np.asarray(embed(texts), np.float32))
        if job["vectors"]:
            np.save(job["vectors"], vectors)
        return times

    answer_jobs(packages, answer)
