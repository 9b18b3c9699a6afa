"""Headrace's embedding engine as embed runs it: `python headrace_embed_peer.py DEVICE FOLDER`."""

import asyncio
import sys
from pathlib import Path

from headrace_inference.embedding import EmbeddingEngine, EngineLimits
from headrace_inference.model_folder import open_folder
from headrace_inference.onnx_encoder import OnnxEncoder
from jobs import answer_jobs, timed

device, folder = sys.argv[1], open_folder(Path(sys.argv[2]))
encoder = OnnxEncoder(folder, "fp16" if device == "cuda" else "fp32", device=device)
limits = EngineLimits(
    batch_tokens_max=16_384 if device == "cuda" else 512,
    threads=2,
    texts_max=1 << 20,
    bulk_share=1,
    cache_bytes_max=0,
)


async def all_of(texts):
    """Embed in one call; nothing is kept for the next."""
    engine = EmbeddingEngine(encoder, limits)
    answer = await engine.embed(texts, priority="bulk")
    await engine.close()
    return answer


def embed(job):
    """Return times and tokens."""
    answer, times = timed(lambda: asyncio.run(all_of(job["texts"])))
    return times | {"made": len(answer.vectors), "tokens": sum(answer.tokens), "batch_tokens": limits.batch_tokens_max}


answer_jobs(["headrace-inference"], embed)
