"""openvino-genai's continuous batching with paged attention, reading the GGUF file: `openvino_peer.py FILE CORES`."""

import sys

import numpy as np
import openvino as ov
import openvino_genai as genai
from serving import SLOTS, serve

scheduling = genai.SchedulerConfig()
scheduling.cache_size = 2  # GiB: all slots fit
scheduling.max_num_seqs = SLOTS
scheduling.enable_prefix_caching = False
pipeline = genai.ContinuousBatchingPipeline(sys.argv[1], scheduling, "CPU", {"INFERENCE_NUM_THREADS": int(sys.argv[2])})


def generate(prompts, output_tokens, first):
    """Add all requests and step until none is left."""
    config = genai.GenerationConfig()
    config.max_new_tokens = config.min_new_tokens = output_tokens
    config.ignore_eos, config.do_sample = True, False
    handles = [
        pipeline.add_request(at, ov.Tensor(np.array([prompt], np.int64)), config) for at, prompt in enumerate(prompts)
    ]
    tokens = [[] for _ in prompts]
    while pipeline.has_non_finished_requests():
        pipeline.step()
        for at, handle in enumerate(handles):
            while handle.can_read():
                for output in handle.read().values():
                    first(at)
                    tokens[at] += output.generated_ids
    return tokens


serve(["openvino-genai", "openvino"], generate)
