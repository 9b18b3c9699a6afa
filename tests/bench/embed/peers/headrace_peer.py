"""Headrace's engine: one call with all texts, as bulk; nothing is kept from one round to the next."""

import asyncio
from pathlib import Path
from typing import Any

from headrace_inference.embedding import EmbeddingEngine, EngineLimits
from headrace_inference.model_folder import open_folder
from headrace_inference.onnx_encoder import OnnxEncoder
from worker import Embed, serve


def open_peer(folder: Path, config: dict[str, Any]) -> Embed:
    """Open a variant of an imported folder."""
    found = open_folder(folder)
    assert found, f"{folder} is incomplete"
    encoder = OnnxEncoder(found, config["variant"])
    limits = EngineLimits(
        batch_tokens_max=config["batch"], threads=config["threads"], texts_max=1 << 20, bulk_share=1, cache_bytes_max=0
    )

    async def all_of(texts: Any) -> Any:
        engine = EmbeddingEngine(encoder, limits)
        answer = await engine.embed(texts, priority="bulk")
        await engine.close()
        return answer.vectors

    return lambda texts: asyncio.run(all_of(texts))


if __name__ == "__main__":
    serve(open_peer, ["headrace-inference", "onnxruntime", "tokenizers", "numpy"])
