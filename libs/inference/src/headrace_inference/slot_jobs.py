"""What goes into an engine and what comes out of it: values, and the ways in which a job is not taken.

No scheduling: that is `slot_engine`, and `genai_engine`.
"""

from dataclasses import dataclass
from typing import Literal

from headrace_inference.constraint import Constraint
from headrace_inference.sampling import GREEDY, Sampling

# `capacity`: the memory that was free did not hold it; `failed`: the engine could not go on with it, and says no more
FinishReason = Literal["stop", "length", "cancelled", "expired", "constraint_failed", "capacity", "failed"]


class QueueFullError(Exception):
    """No more jobs may wait; try again after a while."""


class PromptTooLongError(ValueError):
    """Prompt and output together do not fit into a slot, or the prompt is empty."""


@dataclass(frozen=True)
class Job:
    """One generation. `deadline_s` is on the engine's clock; `max_tokens` counts output, which follows `constraint`.

    The first `head_tokens` of the prompt may be kept and shared with other jobs that begin alike. Say so only of text
    that is nobody's secret: how soon a job begins tells whether its head was there.
    """

    id: str
    prompt: tuple[int, ...]
    max_tokens: int
    sampling: Sampling = GREEDY
    stops: tuple[str, ...] = ()
    deadline_s: float = float("inf")
    head_tokens: int = 0
    constraint: Constraint | None = None

    @property
    def kv_tokens(self) -> int:
        """The most tokens that it can take in a slot."""
        return len(self.prompt) + self.max_tokens


@dataclass(frozen=True)
class Delta:
    """Text that a job has added."""

    id: str
    text: str


@dataclass(frozen=True)
class Finished:
    """The end of a job, always its last event. `output_tokens` counts every token made, an end token included.

    `cached_tokens` of the prompt were not computed for this job.
    """

    id: str
    reason: FinishReason
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int = 0


Event = Delta | Finished


@dataclass(frozen=True)
class KvUse:
    """What is taken of the KV memory now, and what there is: jobs in slots and the tokens that they hold and may reach.

    `head_tokens` are those of kept heads, which outlive the jobs that they came from; they have memory of their own.
    """

    slots: int
    slots_max: int
    tokens: int
    tokens_reserved: int
    tokens_max: int
    head_tokens: int
    waiting: int
