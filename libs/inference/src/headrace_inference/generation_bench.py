"""How fast a local model reads and writes on this machine, through the same engine that serves.

A quick measure for an operator; `make bench-generate` compares with peers.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from headrace_inference.engines import Device, Engine, EngineConfig, Opened, open_engine
from headrace_inference.genai_engine import EngineFailed
from headrace_inference.model_errors import BrokenModel
from headrace_inference.slot_jobs import Event, Finished, Job

STREAMS, PROMPTS = (1, 4, 16), (64, 512)
OUTPUT_TOKENS = 48


def measure_generation(
    folder: Path,
    *,
    threads: int,
    prompts: Sequence[int] = PROMPTS,
    output_tokens: int = OUTPUT_TOKENS,
    device: Device = "auto",
    opened: Callable[[Opened], None] = lambda _opened: None,
) -> list[dict[str, float]]:
    """Return a row for each number of streams and length of prompts: times in ms, rates in tokens a second.

    `opened` hears by what it is measured, and where. Raises a ModelStoreError where a text does not come to its end:
    what was measured then is no speed.
    """
    config = EngineConfig(
        str(folder),
        end_tokens=(),
        slots=max(STREAMS),
        slot_tokens=max(prompts) + output_tokens,
        threads=threads,
        waiting_max=max(STREAMS),
        head_tokens_max=0,
        device=device,
    )
    found = open_engine(config, time.monotonic)
    opened(found)
    engine = found.engine
    _run(engine, 1, min(prompts), output_tokens)  # the first run sorts weights and touches the memory
    return [_run(engine, streams, prompt, output_tokens) for prompt in prompts for streams in STREAMS]


def _run(engine: Engine, streams: int, prompt_tokens: int, output_tokens: int) -> dict[str, float]:
    random = np.random.default_rng(streams)
    for at in range(streams):
        engine.submit(Job(str(at), tuple(random.integers(3, 250, prompt_tokens).tolist()), output_tokens))
    began, first, written = time.perf_counter(), dict.fromkeys(map(str, range(streams)), 0.0), 0
    while engine.busy:
        for event in _step(engine):
            if not first[event.id]:
                first[event.id] = time.perf_counter() - began
            written += _written(event) if isinstance(event, Finished) else 0
    whole, read = time.perf_counter() - began, max(first.values())
    return {
        "streams": streams,
        "prompt_tokens": prompt_tokens,
        "first_token_ms": round(1000 * float(np.median(list(first.values()))), 1),
        "reading_tokens_per_s": round(streams * prompt_tokens / read, 1),
        "writing_tokens_per_s": round(written / max(whole - first["0"], 1e-9), 1),
    }


def _step(engine: Engine) -> Sequence[Event]:
    try:
        return engine.step()
    except EngineFailed as error:
        raise BrokenModel(f"the engine gave up while it was measured: {error}; import the model again") from error


def _written(end: Finished) -> int:
    if end.reason not in {"stop", "length"}:
        raise BrokenModel(
            f"a text ended as {end.reason} after {end.output_tokens} tokens while it was measured; where it is "
            "`capacity`, give the engine more memory, else import the model again"
        )
    return end.output_tokens
