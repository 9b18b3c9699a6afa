"""transformers' own `generate` on the same device, all streams as one batch, half precision on a GPU."""

import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from jobs import answer_jobs, timed
from transformers import AutoModelForCausalLM

device = sys.argv[1]
kind = torch.float16 if device == "cuda" else torch.float32
model = AutoModelForCausalLM.from_pretrained(sys.argv[2]).to(device=device, dtype=kind).eval()


def generate(job):
    """Write as many tokens after every prompt; return times, and how many that were."""
    ids = torch.tensor(job["prompts"], device=device)
    count = job["output_tokens"]
    options = {"min_new_tokens": count, "max_new_tokens": count, "do_sample": False}

    def run():
        with torch.inference_mode():
            return model.generate(ids, attention_mask=torch.ones_like(ids), **options).cpu()

    made, times = timed(run)
    return times | {"made": int((made.shape[1] - ids.shape[1]) * len(made))}


answer_jobs(["transformers", "torch"], generate)
