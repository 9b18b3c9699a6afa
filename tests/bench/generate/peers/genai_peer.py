"""onnxruntime-genai on our folder: a batch from beginning to end, which is what it does on a CPU."""

import sys

import numpy as np
import onnxruntime_genai as genai
from serving import serve

model = genai.Model(sys.argv[1])


def generate(prompts, output_tokens, first):
    """Prompts of a case are equally long, so one batch holds them all."""
    params = genai.GeneratorParams(model)
    params.set_search_options(batch_size=len(prompts), max_length=len(prompts[0]) + output_tokens, do_sample=False)
    generator = genai.Generator(model, params)
    generator.append_tokens(np.array(prompts, np.int32))
    tokens = [[] for _ in prompts]
    for _ in range(output_tokens):
        generator.generate_next_token()
        for at, token in enumerate(generator.get_next_tokens()):
            first(at)
            tokens[at].append(int(token))
    return tokens


serve(["onnxruntime-genai"], generate)
