"""sentence-transformers on the CPU, over the same safetensors: its default batch of 32, or another."""

import os
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "true"

import torch
from sentence_transformers import SentenceTransformer
from worker import Embed, serve


def open_peer(folder: Path, config: dict[str, Any]) -> Embed:
    """Open the weights; it sorts by length itself."""
    torch.set_num_threads(config["threads"])
    model = SentenceTransformer(str(folder), device="cpu")
    options = {"batch_size": config["batch"]} if config["batch"] else {}
    return lambda texts: model.encode(list(texts), show_progress_bar=False, **options)


if __name__ == "__main__":
    serve(open_peer, ["sentence-transformers", "transformers", "torch", "numpy"])
