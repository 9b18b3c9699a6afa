"""One job's output as it grows: the next token from its logits, the text that it completes, and whether it ends there.

Where its tokens lie and when it runs is the engine's business.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from headrace_inference.constraint import Matcher
from headrace_inference.sampling import Logits, TokenPicker
from headrace_inference.slot_jobs import FinishReason, Job
from headrace_inference.stop_text import StopText


@dataclass(eq=False)
class SlotSequence:
    """A job and how far it is; `length` counts its tokens in the slot, of which `cached` were there before."""

    job: Job
    decode: Callable[[int], str]
    matcher: Matcher | None = None
    length: int = 0
    cached: int = 0
    made: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._picker, self._text = TokenPicker(self.job.sampling, self.job.prompt), StopText(self.job.stops)

    def advance(self, logits: Logits, end_tokens: frozenset[int]) -> tuple[str, FinishReason | None]:
        """Add the next token; return the text that may be shown, and why it ends, if it does."""
        allowed = self.matcher.allowed() if self.matcher else None
        if self.matcher and allowed is None:
            return "", "constraint_failed"
        token = self._picker.pick(logits, allowed)
        self.made.append(token)
        if token in end_tokens:
            return "", "stop"
        text = self._text.feed(self.decode(token))
        whole = self.matcher is not None and self.matcher.take(token)
        if self._text.stopped or whole:
            return text, "stop"
        return text, "length" if len(self.made) >= self.job.max_tokens else None

    def rest(self) -> str:
        """Return text that was held back, at the end."""
        return self._text.rest()
