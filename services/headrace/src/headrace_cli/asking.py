"""One run of `ask --from`: a question a line, answers in their order, and a run that can be taken up again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from headrace_client import Answer, NoOutcome, unanswered
from headrace_errors import DeadlineExceeded, HeadraceError, Overloaded, PeerBug, Unavailable

from headrace_cli.batches import Batch, RunFile

QUESTION_BYTES_MAX = 16 * 1024
# What says nothing about the request: it may have its outcome by now, or get one when it is asked again.
_UNDECIDED = (NoOutcome, Unavailable, Overloaded, DeadlineExceeded)


Ask = Callable[..., Awaitable[Answer]]
"""The client's `ask`: with a question, `request_id`, `idempotency_key` and its options."""


class AskRun:
    """One run. `run_file` is forgotten at its end only when every line has its outcome: else the same run goes on."""

    def __init__(self, ask: Ask, run_file: RunFile, *, concurrency: int, options: dict[str, Any]) -> None:
        self._ask, self._run_file, self._concurrency, self._options = ask, run_file, concurrency, options
        self._undecided = 0

    async def ask_all(self, questions: Sequence[str], show: Callable[[dict[str, Any]], None]) -> bool:
        """Ask every line and show what became of it, in their order; return whether all were answered."""
        answered = True
        async for document in Batch(self._one, self._concurrency).run(questions):
            show(document)
            answered &= document["outcome"] == "answered"
        if not self._undecided:
            self._run_file.finish()
        return answered

    async def _one(self, number: int, question: str) -> dict[str, Any]:
        key = self._run_file.key(number)
        try:
            check_size(question)
            answer = await self._ask(question, request_id=key, idempotency_key=key, **self._options)
        except ValueError as error:
            answer = unanswered(key, question, reason="question_too_long", detail=str(error))
        except (HeadraceError, NoOutcome, PeerBug) as error:
            self._undecided += isinstance(error, _UNDECIDED)
            answer = unanswered(key, question, reason=getattr(error, "reason", "no_outcome"), detail=str(error))
        return answer.as_json()


def check_size(question: str) -> None:
    """Raise ValueError with the limit for a question that is too long."""
    size = len(question.encode())
    if size > QUESTION_BYTES_MAX:
        raise ValueError(f"the question has {size} bytes; at most {QUESTION_BYTES_MAX} (16 KiB) are allowed")
