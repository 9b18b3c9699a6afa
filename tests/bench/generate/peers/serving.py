"""A contender of the generation benchmark: `python PEER.py MODEL CORES`. Needs the standard library only."""

import time

from jobs import answer_jobs, timed

SLOTS, CONTEXT_TOKENS = 16, 1152


def serve(packages, generate):
    """Work until standard input ends.

    `generate(prompts, output_tokens, first)` returns the tokens written after each prompt, and calls `first(at)` when
    the first of prompt `at` is there.
    """

    def answer(job):
        began, firsts = time.perf_counter(), {}

        def first(at):
            firsts.setdefault(at, time.perf_counter() - began)

        tokens, times = timed(lambda: generate(job["prompts"], job["output_tokens"], first))
        return times | {"first_s": [firsts[at] for at in range(len(tokens))], "tokens": tokens}

    answer_jobs(packages, answer)
