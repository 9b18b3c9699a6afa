"""Our slot engine, as the engine process runs it: `python headrace_peer.py FOLDER CORES`."""

import sys
import time
from pathlib import Path

from headrace_inference.generation_folder import open_generation_model
from headrace_inference.slot_engine import SlotEngine
from headrace_inference.slot_jobs import Delta, Job
from serving import CONTEXT_TOKENS, SLOTS, serve

model, _, _ = open_generation_model(
    Path(sys.argv[1]), slots=SLOTS, slot_tokens=CONTEXT_TOKENS, threads=int(sys.argv[2])
)


def generate(prompts, output_tokens, first):
    """Submit all and step until the engine is idle."""
    engine = SlotEngine(
        model,
        lambda: lambda token: f"{token} ",
        end_tokens=frozenset(),
        clock=time.monotonic,
        waiting_max=len(prompts),
        head_tokens_max=0,
    )
    for at, prompt in enumerate(prompts):
        engine.submit(Job(str(at), tuple(prompt), output_tokens))
    tokens = [[] for _ in prompts]
    while engine.busy:
        for event in engine.step():
            if isinstance(event, Delta):
                first(int(event.id))
                tokens[int(event.id)] += [int(token) for token in event.text.split()]
    return tokens


serve(["onnxruntime", "headrace-inference"], generate)
