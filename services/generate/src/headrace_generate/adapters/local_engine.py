"""A local model as an engine: tokenizer here, weights in the engine process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from headrace_errors import DeadlineExceeded
from headrace_inference.chat import ChatEncoder, ChatMessage

from headrace_generate.adapters.engine_process import EngineCrashed, EngineProcess
from headrace_generate.domain import AttemptFailed, FinishReason, Message, TokenUse, Written
from headrace_generate.engine.wire import End, Outcome, Submit, Text
from headrace_generate.ports import ModelCall, Progress

FINISHES: dict[Outcome, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "cancelled": "cancelled",
    "expired": "expired",
}
HEADS_KEPT = 16  # one a template of prompts
STEP_MAX_S = 5.0  # an engine stops within one step after its time; one that does not has failed


@dataclass
class LocalEngine:
    """One local model, greedy. `model` names it in responses, `timeout_s` bounds a call."""

    model: str
    encoder: ChatEncoder
    process: EngineProcess
    timeout_s: float

    def __post_init__(self) -> None:
        # What a template puts before its last message: the same for every request, and no secret. That one is not kept.
        self._encode_head = lru_cache(maxsize=HEADS_KEPT)(self.encoder.encode_turns)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Count with the model's own tokenizer."""
        return len(self._encode(messages))

    async def generate(self, call: ModelCall, progress: Progress) -> Written:
        """Write until an end token, the limit, the timeout or the deadline; what was written by then is the answer."""
        remaining_s = (call.deadline - datetime.now(UTC)).total_seconds()
        if remaining_s <= 0:
            raise DeadlineExceeded("no time was left for the model")
        allowed_s = min(remaining_s, self.timeout_s)
        prompt = tuple(self._encode(call.messages))
        request = Submit(
            call.attempt_id,
            prompt,
            call.output_tokens_max,
            deadline_ms=int(allowed_s * 1000),
            head_tokens=self._head_tokens(call.messages),
            constraint_kind=call.constraint.kind if call.constraint else "",
            constraint=call.constraint.text if call.constraint else "",
        )
        pieces: list[str] = []
        try:
            async with asyncio.timeout(allowed_s + STEP_MAX_S):
                async for event in self.process.generate(request, ready_timeout_s=allowed_s):
                    match event:
                        case Text(text=text):
                            pieces.append(text)
                            progress(len(pieces))
                        case End() as end:
                            return self._written(call, "".join(pieces), end)
        except (EngineCrashed, TimeoutError) as error:
            used = TokenUse(len(prompt), len(pieces), estimated=True) if pieces else TokenUse()
            reason = error.reason if isinstance(error, EngineCrashed) else "engine_timeout"
            raise AttemptFailed(reason, used=used, unknown=reason != "engine_not_ready") from error
        raise AttemptFailed("engine_crashed")  # a stream always ends with End

    def _written(self, call: ModelCall, text: str, end: End) -> Written:
        finish = FINISHES.get(end.outcome)
        used = TokenUse(end.prompt_tokens, end.output_tokens, end.cached_tokens)
        if finish is None:  # too_long stays too long; a full queue empties, and so does its memory
            raise AttemptFailed(f"engine_{end.outcome}", used=used, retry=end.outcome in {"queue_full", "capacity"})
        return Written(text, finish, used, response_id=call.attempt_id, response_model=self.model)

    def _head_tokens(self, messages: Sequence[Message]) -> int:
        return len(self._encode_head(_turns(messages[:-1])))

    def _encode(self, messages: Sequence[Message]) -> list[int]:
        return [*self._encode_head(_turns(messages[:-1])), *self.encoder.encode(_turns(messages[-1:]))]


def _turns(messages: Sequence[Message]) -> tuple[ChatMessage, ...]:
    return tuple(ChatMessage(message.role, message.content) for message in messages)
