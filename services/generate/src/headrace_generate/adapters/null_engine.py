"""A model without weights: it repeats the first quote of its prompt. The same prompt gives the same text."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

from headrace_generate.domain import Message, TokenUse, Written
from headrace_generate.ports import ModelCall, Progress

FIRST_QUOTE = re.compile(r"^\[1\] (.+)$", re.MULTILINE)


class NullEngine:
    """Counts words as tokens and takes `delay_s` for each answer.

    `log`, where given, gets one line a run: request id and attempt.
    """

    def __init__(self, log: Path | None = None, *, delay_s: float = 0) -> None:
        self._log = log
        self._delay_s = delay_s

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the words of the prompt."""
        return sum(len(message.content.split()) for message in messages)

    async def generate(self, call: ModelCall, progress: Progress) -> Written:
        """Write the first quote, cut at the call's limit."""
        if self._log:
            with self._log.open("a", encoding="utf-8") as log:  # one short line: an append is whole or not there
                log.write(f"{call.request_id} {call.attempt}\n")
        await asyncio.sleep(self._delay_s)
        quote = FIRST_QUOTE.search(call.messages[-1].content)
        words = (quote[1] if quote else "").split()[: call.output_tokens_max]
        progress(len(words))
        used = TokenUse(self.count_tokens(call.messages), len(words))
        return Written(" ".join(words), "stop", used, response_id=call.attempt_id, response_model="null")
