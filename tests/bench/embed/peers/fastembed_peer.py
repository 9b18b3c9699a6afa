"""fastembed over a folder with the same graph: its default batch of 256, or another, in one process with all cores."""

import os
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType
from worker import Embed, serve


def open_peer(folder: Path, config: dict[str, Any]) -> Embed:
    """Open the graph `config["file"]`; `batch` and `threads` are fastembed's own defaults where they are null."""
    name = f"bench/{config['file']}"
    TextEmbedding.add_custom_model(
        model=name,
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf=name),
        dim=384,
        model_file=config["file"],
    )
    model = TextEmbedding(name, threads=config["threads"], specific_model_path=str(folder))
    options = {"batch_size": config["batch"]} if config["batch"] else {}
    return lambda texts: np.array(list(model.embed(list(texts), **options)))


if __name__ == "__main__":
    serve(open_peer, ["fastembed", "onnxruntime", "numpy"])
