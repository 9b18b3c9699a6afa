"""llama.cpp with one context of parallel sequences, as its server's slots use it: `llama_cpp_peer.py FILE CORES`."""

import sys

import llama_cpp as llama
import numpy as np
from serving import CONTEXT_TOKENS, SLOTS, serve

BATCH_TOKENS = 512
llama.llama_backend_init()
model = llama.llama_model_load_from_file(sys.argv[1].encode(), llama.llama_model_default_params())
settings = llama.llama_context_default_params()
settings.n_ctx, settings.n_seq_max = SLOTS * CONTEXT_TOKENS, SLOTS
settings.n_batch = settings.n_ubatch = BATCH_TOKENS
settings.n_threads = settings.n_threads_batch = int(sys.argv[2])
context = llama.llama_init_from_model(model, settings)
vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
batch = llama.llama_batch_init(BATCH_TOKENS, 0, 1)


def run(rows):
    """Run (token, position, sequence, wants logits) rows; return the likeliest token of each that wants them."""
    batch.n_tokens = len(rows)
    for at, (token, position, sequence, wanted) in enumerate(rows):
        batch.token[at], batch.pos[at] = token, position
        batch.n_seq_id[at], batch.logits[at] = 1, wanted
        batch.seq_id[at][0] = sequence
    if llama.llama_decode(context, batch):
        raise RuntimeError("llama_decode failed")
    return {
        sequence: int(np.ctypeslib.as_array(llama.llama_get_logits_ith(context, at), (vocabulary,)).argmax())
        for at, (_, _, sequence, wanted) in enumerate(rows)
        if wanted
    }


def generate(prompts, output_tokens, first):
    """Read prompts packed into batches, then write a token to all in each run."""
    llama.llama_memory_clear(llama.llama_get_memory(context), True)
    waiting = [
        (token, position, at, position == len(prompt) - 1)
        for at, prompt in enumerate(prompts)
        for position, token in enumerate(prompt)
    ]
    tokens = [[] for _ in prompts]
    for start in range(0, len(waiting), BATCH_TOKENS):
        for at, token in run(waiting[start : start + BATCH_TOKENS]).items():
            first(at)
            tokens[at].append(token)
    for _ in range(output_tokens - 1):
        rows = [(made[-1], len(prompts[at]) + len(made) - 1, at, True) for at, made in enumerate(tokens)]
        for at, token in run(rows).items():
            tokens[at].append(token)
    return tokens


serve(["llama-cpp-python"], generate)
