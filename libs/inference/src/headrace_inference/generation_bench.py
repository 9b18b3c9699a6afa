"""How fast a local model reads and writes on this machine, through the same scheduler that serves.

A quick measure for an operator; `make bench-generate` compares with peers.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from headrace_inference.generation_folder import open_generation_model
from headrace_inference.slot_engine import SlotEngine
from headrace_inference.slot_jobs import Delta, Finished, Job
from headrace_inference.slot_model import SlotModel

STREAMS, PROMPTS = (1, 4, 16), (64, 512)
OUTPUT_TOKENS = 48


def measure_generation(
    folder: Path, *, threads: int, prompts: Sequence[int] = PROMPTS, output_tokens: int = OUTPUT_TOKENS
) -> list[dict[str, float]]:
    """Return a row for each number of streams and length of prompts: times in ms, rates in tokens a second."""
    slot_tokens = max(prompts) + output_tokens
    model, _, _ = open_generation_model(folder, slots=max(STREAMS), slot_tokens=slot_tokens, threads=threads)
    _run(model, 1, min(prompts), output_tokens)  # the first run sorts weights and touches the memory
    return [_run(model, streams, prompt, output_tokens) for prompt in prompts for streams in STREAMS]


def _run(model: SlotModel, streams: int, prompt_tokens: int, output_tokens: int) -> dict[str, float]:
    engine = SlotEngine(
        model, _no_text, end_tokens=frozenset(), clock=time.monotonic, waiting_max=streams, head_tokens_max=0
    )
    random = np.random.default_rng(streams)
    for at in range(streams):
        engine.submit(Job(str(at), tuple(random.integers(3, 250, prompt_tokens).tolist()), output_tokens))
    began, first = time.perf_counter(), dict.fromkeys(map(str, range(streams)), 0.0)
    while engine.busy:
        for event in engine.step():
            if isinstance(event, Delta | Finished) and not first[event.id]:
                first[event.id] = time.perf_counter() - began
    whole, read = time.perf_counter() - began, max(first.values())
    return {
        "streams": streams,
        "prompt_tokens": prompt_tokens,
        "first_token_ms": round(1000 * float(np.median(list(first.values()))), 1),
        "reading_tokens_per_s": round(streams * prompt_tokens / read, 1),
        "writing_tokens_per_s": round(streams * output_tokens / max(whole - first["0"], 1e-9), 1),
    }


def _no_text() -> Callable[[int], str]:
    return lambda token: f"{token} "
