"""A run of `ask --from` is over when every line has its outcome, and goes on when it is not."""

from typing import Any

import pytest
from headrace.answer.v1 import answer_pb2
from headrace_cli.asking import QUESTION_BYTES_MAX, AskRun
from headrace_cli.batches import RunFile
from headrace_client import Answer, NoOutcome
from headrace_client.answers import answer_of
from headrace_errors import InvalidMessage, Unavailable

LINES = ["first", "second"]


class FakeClient:
    """Answers, or raises what it is told for a question; `asked` holds the keys."""

    def __init__(self, **errors: Exception) -> None:
        self.errors = errors
        self.asked: dict[str, str] = {}

    async def ask(self, question: str, *, request_id: str, idempotency_key: str, **_options: Any) -> Answer:
        assert request_id == idempotency_key
        self.asked[question] = request_id
        if question in self.errors:
            raise self.errors[question]
        outcome = answer_pb2.OUTCOME_REFUSED if question == "refuse me" else answer_pb2.OUTCOME_ANSWERED
        return answer_of(answer_pb2.AnswerCompleted(outcome=outcome), question=question, trace_id="")


async def run(client: FakeClient, folder, lines: list[str] = LINES) -> tuple[bool, list[dict[str, Any]]]:
    shown: list[dict[str, Any]] = []
    run_file = RunFile.open(folder, lines, "default", "", {})
    return await AskRun(client.ask, run_file, concurrency=2, options={}).ask_all(lines, shown.append), shown


async def test_a_run_whose_lines_all_have_an_outcome_is_over(tmp_path):
    """A refusal is an outcome, and so is a line that cannot be asked: the same lines are a new run then."""
    lines = ["first", "refuse me", "x" * (QUESTION_BYTES_MAX + 1), "unreadable"]
    first, second = [FakeClient(unreadable=InvalidMessage("too large")) for _ in range(2)]
    answered, shown = await run(first, tmp_path, lines)
    assert not answered
    assert [one["outcome"] for one in shown] == ["answered", "refused", "failed", "failed"]
    assert shown[2]["reason"] == "question_too_long"
    await run(second, tmp_path, lines)
    assert first.asked["first"] != second.asked["first"]


@pytest.mark.parametrize("error", [NoOutcome("none came"), Unavailable("no bus")])
async def test_a_run_with_a_line_of_unknown_outcome_goes_on_with_the_same_keys(tmp_path, error):
    """So that what was answered is not computed again, and what was not is asked under its old key."""
    first, second, third = FakeClient(second=error), FakeClient(), FakeClient()
    answered, shown = await run(first, tmp_path)
    assert (answered, shown[1]["outcome"]) == (False, "failed")
    assert (await run(second, tmp_path))[0]
    assert second.asked == first.asked
    await run(third, tmp_path)
    assert third.asked["first"] != first.asked["first"]
