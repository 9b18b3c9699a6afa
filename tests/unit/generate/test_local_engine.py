"""A local model's calls as attempts: what becomes of those whose engine process dies, was never there, or says no."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from headrace_generate.adapters.engine_process import EngineCrashed
from headrace_generate.adapters.local_engine import LocalEngine
from headrace_generate.domain import AttemptFailed, Message, OutputConstraint, TokenUse
from headrace_generate.engine.wire import End, Submit, Text
from headrace_generate.ports import ModelCall


class WordEncoder:
    """A token a word."""

    def encode(self, turns: Sequence[Any]) -> list[int]:
        return [len(word) for turn in turns for word in turn.content.split()]

    encode_turns = encode


class ScriptedProcess:
    """Says what the script says; an exception is raised."""

    def __init__(self, *script: Any) -> None:
        self.script = script
        self.asked: list[Submit] = []

    async def generate(self, request: Submit, *, ready_timeout_s: float) -> AsyncIterator[Text | End]:
        self.asked.append(request)
        assert 0 < ready_timeout_s <= 5, "no longer than the call may take"
        for step in self.script:
            if isinstance(step, Exception):
                raise step
            yield step


async def ask(process: ScriptedProcess, constraint: OutputConstraint | None = None) -> Any:
    engine = LocalEngine("small", WordEncoder(), process, timeout_s=5)
    messages = (Message("system", "Be brief."), Message("user", "Why is it so?"))
    deadline = datetime.now(UTC) + timedelta(seconds=60)
    return await engine.generate(ModelCall("a1", "r1", 1, messages, 20, deadline, constraint), lambda _tokens: None)


async def test_an_engine_that_dies_in_a_call_leaves_it_unknown():
    """With the prompt and the pieces that came as an estimate."""
    process = ScriptedProcess(Text("a1", "Be"), Text("a1", "cause"), EngineCrashed("died"))
    with pytest.raises(AttemptFailed) as failed:
        await ask(process)
    assert (failed.value.reason, failed.value.unknown) == ("engine_crashed", True)
    assert failed.value.used == TokenUse(6, 2, estimated=True)


async def test_an_engine_that_was_never_there_has_used_nothing_for_certain():
    """The call was not given to it, so nothing is unknown."""
    with pytest.raises(AttemptFailed) as failed:
        await ask(ScriptedProcess(EngineCrashed("none", reason="engine_not_ready")))
    assert (failed.value.reason, failed.value.unknown, failed.value.used) == ("engine_not_ready", False, TokenUse())


@pytest.mark.parametrize(
    ("outcome", "retry"),
    [("queue_full", True), ("too_long", False), ("bad_constraint", False), ("constraint_failed", False)],
)
async def test_what_the_engine_does_not_take_is_a_failed_attempt(outcome, retry):
    """Only a full queue is worth another."""
    with pytest.raises(AttemptFailed) as failed:
        await ask(ScriptedProcess(End("a1", outcome)))
    assert (failed.value.reason, failed.value.retry, failed.value.unknown) == (f"engine_{outcome}", retry, False)


async def test_the_form_of_an_answer_and_the_shared_head_reach_the_engine():
    """The head is what stands before the last message."""
    process = ScriptedProcess(Text("a1", "7"), End("a1", "stop", 6, 2, 2))
    written = await ask(process, OutputConstraint("regex", "[0-9]"))
    (request,) = process.asked
    assert (request.constraint_kind, request.constraint, request.head_tokens) == ("regex", "[0-9]", 2)
    assert (written.text, written.used) == ("7", TokenUse(6, 2, 2))
