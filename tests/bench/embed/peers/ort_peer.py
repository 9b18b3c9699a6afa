"""Plain ONNX Runtime with the same graph: a loop over batches in the order of the texts, all cores in one session."""

import os
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer
from worker import Embed, serve


def open_peer(folder: Path, config: dict[str, Any]) -> Embed:
    """Open the graph `config["file"]`; batches of `batch` texts."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = config["threads"]
    session = ort.InferenceSession(str(folder / config["file"]), options, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding()

    def embed(texts: Any) -> Any:
        vectors = []
        for first in range(0, len(texts), config["batch"]):
            found = tokenizer.encode_batch(texts[first : first + config["batch"]])
            ids = np.array([one.ids for one in found], np.int64)
            mask = np.array([one.attention_mask for one in found], np.int64)
            hidden = session.run(["last_hidden_state"], {"input_ids": ids, "attention_mask": mask})[0]
            pooled = (hidden * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
            vectors.append(pooled / np.linalg.norm(pooled, axis=1, keepdims=True))
        return np.concatenate(vectors)

    return embed


if __name__ == "__main__":
    serve(open_peer, ["onnxruntime", "tokenizers", "numpy"])
