"""The one place where onnxruntime-genai runs: its Engine as `Turns`.

Only Engine is used. Its `run` lets other threads go on; Generator's calls hold the interpreter for a whole prompt. All
calls come from the thread that made the engine. On the CPU the package makes batches from beginning to end, cannot take
a seed, and does without stop strings: those are `genai_engine`'s, so that they are the same everywhere. Written for
0.18; the package calls this part of its interface experimental.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from headrace_inference.constraint import Constraint, Matcher
from headrace_inference.genai_engine import EngineFailed, TurnEvent, TurnRefused
from headrace_inference.grammars import json_grammar
from headrace_inference.sampling import Sampling
from headrace_inference.slot_jobs import FinishReason, Job

EVENTS_MAX = 256  # of a run; the package keeps what is over for the next one
TOKEN, ENDED, BLOCKED, FAILED, RETRYABLE = 1, 2, 4, 8, 16  # EngineEventFlags, which may come together
ENDS: dict[str, FinishReason] = {
    "EOS": "stop",
    "STOP_STRING": "stop",
    "MAX_GENERATED_TOKENS": "length",
    "MAX_SESSION_TOKENS": "length",
    "CANCELLED": "cancelled",
    "FAILED": "failed",
}
ENGINE_FAILURES = frozenset({"ENGINE_EXECUTION_FAILURE", "ENGINE_CONTRACT_FAILURE"})


class GenaiTurns:
    """Turns of one loaded model. `genai` is the package, `new_matcher` compiles a constraint to see whether it can be.

    `takes_seed` says whether draws can be repeated: with dynamic batching only. The package looks up ids beyond the
    `vocabulary` without a word.
    """

    def __init__(
        self, genai: Any, model: Any, new_matcher: Callable[[Constraint], Matcher], *, takes_seed: bool, vocabulary: int
    ) -> None:
        self._genai, self._new_matcher = genai, new_matcher
        self._takes_seed, self._vocabulary = takes_seed, vocabulary
        self._engine = genai.Engine(model)
        self.turns_max: int = self._engine.get_capabilities().configured_max_batch_size
        self._buffer = self._engine.create_event_buffer(EVENTS_MAX)
        self._requests: dict[int, Any] = {}
        self._turns: dict[int, int] = {}  # by the request's identity, which lasts as long as we hold it
        self._begun = 0

    def check(self, job: Job) -> None:
        """Refuse a constraint that cannot be read, a draw that could not be repeated, and tokens that are none."""
        if not 0 <= min(job.prompt) <= max(job.prompt) < self._vocabulary:
            raise ValueError(f"the prompt has a token that is none of the model's {self._vocabulary}")
        if job.sampling.temperature > 0 and not self._takes_seed:
            raise ValueError(
                "this model is run in batches from beginning to end, where no draw can be repeated: take temperature 0"
            )
        if job.constraint:
            self._new_matcher(job.constraint)

    def begin(self, job: Job) -> int:
        """Begin a turn of a request of its own, bounded to what the job may take. Raises TurnRefused."""
        limits = self._genai.RequestOptions()
        limits.set_max_session_tokens(job.kv_tokens)
        try:
            request = self._engine.create_request(options=limits)
            request.begin_turn(np.array(job.prompt, np.int32), self._options(request, job))
        except RuntimeError as error:  # of the package; a request that is let go of is closed
            raise TurnRefused(str(error)) from error
        self._begun += 1
        self._requests[self._begun], self._turns[id(request)] = request, self._begun
        return self._begun

    def close(self, turn: int) -> None:
        """Close a turn's request."""
        request = self._requests.pop(turn)
        del self._turns[id(request)]
        request.close()

    def run(self) -> Sequence[TurnEvent]:
        """Run one step of the package."""
        return [self._told(event) for event in self._engine.run(self._buffer)]

    def _options(self, request: Any, job: Job) -> Any:
        options = self._genai.TurnOptions(request)
        options.set_max_generated_tokens(job.max_tokens)
        choose(options, job.sampling)
        if job.constraint:
            options.set_guidance(job.constraint.kind, laid_out(job.constraint))
        return options

    def _told(self, event: Any) -> TurnEvent:
        flags, code = event.flags.value, event.error_code.name
        if flags & FAILED and (code in ENGINE_FAILURES or not flags & ENDED):
            raise EngineFailed(f"onnxruntime-genai's engine gave up: {code}")
        turn = None if event.request is None else self._turns.get(id(event.request))
        if flags & (BLOCKED | RETRYABLE):
            return TurnEvent(turn, moved=False)
        token = event.token if flags & TOKEN else None
        if not flags & ENDED:
            return TurnEvent(turn, token)
        reason = event.finish_reason.name
        return TurnEvent(turn, token, ENDS[reason], int(reason == "EOS"), event.usage.cached_prompt_tokens)


def choose(options: Any, sampling: Sampling) -> None:
    """Set how to choose, all of it: what is left out would be as the package's folder says."""
    options.set_repetition_penalty(sampling.repetition_penalty)
    options.set_no_repeat_ngram_size(0)
    options.set_min_generated_tokens(0)
    options.set_do_sample(sampling.temperature > 0)
    if sampling.temperature > 0:
        options.set_temperature(sampling.temperature)
        options.set_top_k(sampling.top_k)
        options.set_top_p(sampling.top_p)
        options.set_seed(sampling.seed)


def laid_out(constraint: Constraint) -> str:
    """Return a constraint as the package's guidance takes it: a schema says itself how its documents are laid out."""
    if constraint.kind == "regex":
        return constraint.text
    grammar = json.loads(json_grammar(constraint.text))
    return json.dumps(grammar["grammars"][0]["json_schema"])
