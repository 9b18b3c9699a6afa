"""What every contender's process does alike: read cases as JSON lines, time them, answer. Needs the stdlib only."""

import json
import sys
import time
from importlib import metadata

SLOTS, CONTEXT_TOKENS = 16, 1152


def serve(packages, generate):
    """Answer cases until standard input ends.

    `generate(prompts, output_tokens, first)` returns the tokens written after each prompt, and calls `first(at)` when
    the first of prompt `at` is there.
    """
    versions = {name: metadata.version(name) for name in packages}
    sys.stdout.write("@" + json.dumps({"versions": versions}) + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        case = json.loads(line)
        began, began_cpu, firsts = time.perf_counter(), time.process_time(), {}
        tokens = generate(
            case["prompts"],
            case["output_tokens"],
            lambda at, began=began, firsts=firsts: firsts.setdefault(at, time.perf_counter() - began),
        )
        answer = {
            "wall_s": time.perf_counter() - began,
            "cpu_s": time.process_time() - began_cpu,
            "first_s": [firsts[at] for at in range(len(tokens))],
            "tokens": tokens,
        }
        sys.stdout.write("@" + json.dumps(answer) + "\n")
        sys.stdout.flush()
