"""A request's outcome as programs read it: stable snake_case keys, documented in docs/cli.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, Literal

from headrace.answer.v1 import answer_pb2

Outcome = Literal["answered", "refused", "expired", "failed"]
CostState = Literal["rated", "pending"]


@dataclass(frozen=True)
class Citation:
    """A span of a document's stored text: `text[start:end] == quote`, in Unicode code points."""

    document: str
    version: int
    start: int
    end: int
    quote: str
    page: int | None = None


@dataclass(frozen=True)
class Answer:
    """The one outcome of a question. `cost` is None and `cost_state` pending while the ledger has not rated it."""

    request_id: str
    question: str
    outcome: Outcome
    reason: str | None
    detail: str | None
    style: Literal["written", "quoted"] | None
    answer: str | None
    citations: tuple[Citation, ...]
    usage: Mapping[str, int]
    model: str | None
    late: bool
    trace_id: str
    timings_ms: Mapping[str, float]
    cost: Decimal | None = None
    currency: str | None = None
    cost_state: CostState = "pending"
    conversation_id: str | None = field(default=None)

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints: the fields by their names, the cost as a decimal string."""
        document = asdict(self)
        document["cost"] = None if self.cost is None else f"{self.cost:f}"  # never 1E-8
        document["timings_ms"] = {name: round(value, 2) for name, value in sorted(self.timings_ms.items())}
        return document


def unanswered(request_id: str, question: str, *, reason: str, detail: str) -> Answer:
    """Return what stands for a question of which no outcome came: the same keys, `failed`, nothing rated."""
    empty = answer_pb2.AnswerCompleted(
        request_id=request_id, outcome=answer_pb2.OUTCOME_FAILED, reason=reason, detail=detail
    )
    return answer_of(empty, question=question, trace_id="")


def answer_of(completed: answer_pb2.AnswerCompleted, *, question: str, trace_id: str) -> Answer:
    """Read an outcome event."""
    usage = completed.usage
    return Answer(
        request_id=completed.request_id,
        question=question,
        outcome=answer_pb2.Outcome.Name(completed.outcome).removeprefix("OUTCOME_").lower(),  # type: ignore[arg-type] # the enum's own names
        reason=completed.reason or None,
        detail=completed.detail or None,
        style=answer_pb2.Style.Name(completed.style).removeprefix("STYLE_").lower() if completed.style else None,  # type: ignore[arg-type]
        answer=completed.answer or None,
        citations=tuple(
            Citation(one.document, one.version, one.start, one.end, one.quote, one.page or None)
            for one in completed.citations
        ),
        usage={
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cached_input_tokens": usage.cached_input_tokens,
            "embedding_tokens": usage.embedding_tokens,
            "attempts": usage.attempts,
        },
        model=completed.model or None,
        late=completed.late,
        trace_id=trace_id,
        timings_ms=dict(completed.timings_ms),
        conversation_id=completed.conversation_id or None,
    )
