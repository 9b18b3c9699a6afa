"""sentence-transformers on the same device: half precision on a GPU, the best of three batch sizes. It sorts."""

import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

from jobs import answer_jobs, timed
from sentence_transformers import SentenceTransformer

device = sys.argv[1]
model = SentenceTransformer(sys.argv[2], device=device)
if device == "cuda":
    model = model.half()


def embed(job):
    """Return the times of the fastest batch size."""
    sizes = (32, 256, 1024) if device == "cuda" else (32,)
    runs = [timed(lambda size=size: model.encode(job["texts"], batch_size=size)) for size in sizes]
    made, times = min(runs, key=lambda run: run[1]["wall_s"])
    return times | {"made": len(made)}


answer_jobs(["sentence-transformers", "torch"], embed)
