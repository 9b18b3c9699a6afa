"""The engine that a folder is served with: `python headrace_generate_peer.py DEVICE FOLDER STREAMS CONTEXT_TOKENS`."""

import sys
import time

from headrace_inference.engines import EngineConfig, open_engine
from headrace_inference.slot_jobs import Finished, Job
from jobs import answer_jobs, timed

device, folder, streams, context_tokens = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
opened = open_engine(
    EngineConfig(folder, end_tokens=(), slots=streams, slot_tokens=context_tokens, waiting_max=streams, device=device),
    time.monotonic,
)
if opened.device != device:
    raise SystemExit(opened.note)


def generate(job):
    """Submit all and step until the engine is idle; return times, and the tokens that were written."""
    for at, prompt in enumerate(job["prompts"]):
        opened.engine.submit(Job(str(at), tuple(prompt), job["output_tokens"]))
    written = []

    def run():
        while opened.engine.busy:
            written.extend(event.output_tokens for event in opened.engine.step() if isinstance(event, Finished))

    _, times = timed(run)
    if written != [job["output_tokens"]] * len(job["prompts"]):
        raise SystemExit(f"texts of {sorted(written)} tokens, and {job['output_tokens']} were asked: no equal work")
    return times | {"made": sum(written)}


answer_jobs(["headrace-inference"], generate)
