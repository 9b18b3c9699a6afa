"""The values of generation and its rules: attempts, what they used, how they may end. No technology."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from headrace_generate.answering import Passage, TermStatistics

Role = Literal["system", "user", "assistant"]
AttemptState = Literal["started", "completed", "failed", "cancelled", "unknown"]
FinishReason = Literal["stop", "length", "cancelled", "expired", "content_filter", "other"]


@dataclass(frozen=True)
class Message:
    """One turn of a prompt."""

    role: Role
    content: str


@dataclass(frozen=True)
class Origin:
    """Where a query came from, for the events that follow from it."""

    event_id: str
    tenant: str
    principals: tuple[str, ...]
    deadline: datetime
    conversation_id: str = ""
    asker: str = ""
    feature: str = ""
    priority: int = 0
    by_call: bool = False  # asked over gRPC: the answer goes back by the call, not by the topic


@dataclass(frozen=True)
class OutputConstraint:
    """What an answer has to be as a whole: a JSON document of a schema, or a text that an expression matches."""

    kind: Literal["json_schema", "regex"]
    text: str


@dataclass(frozen=True)
class Query:
    """A question with what retrieve found for it, best passage first."""

    request_id: str
    question: str
    passages: tuple[Passage, ...]
    statistics: TermStatistics
    origin: Origin
    model: str = ""
    embedding_tokens: int = 0
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    constraint: OutputConstraint | None = None


@dataclass(frozen=True)
class TokenUse:
    """Tokens of one or more model calls; `estimated` where a provider did not say.

    Input includes what was read from a cache, and output what was reasoned.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    def __add__(self, other: TokenUse) -> TokenUse:
        return TokenUse(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_input_tokens + other.cached_input_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.estimated or other.estimated,
        )


NOTHING_USED = TokenUse()


@dataclass(frozen=True)
class Written:
    """What a model wrote, and what it says about it."""

    text: str
    finish_reason: FinishReason
    used: TokenUse
    response_id: str = ""
    response_model: str = ""


@dataclass(frozen=True)
class CitedSpan:
    """A quote and where it stands: `stored_text[start:end] == quote`, in code points."""

    document: str
    version: int
    start: int
    end: int
    quote: str
    page: int = 0


@dataclass(frozen=True)
class Draft:
    """An answer for moderate to decide on."""

    answer: str
    style: Literal["written", "quoted"]
    citations: tuple[CitedSpan, ...]
    finish_reason: FinishReason
    timings_ms: Mapping[str, float]


@dataclass(frozen=True)
class Attempt:
    """One model call of a request, from its entry in the journal to its end. Billed by its id, once.

    `embedding_tokens` is what embedding took for the request until then, here and in retrieve.
    """

    origin: Origin
    request_id: str
    number: int
    owner: str
    model: str
    provider: str
    started_at: datetime
    embedding_tokens: int = 0
    state: AttemptState = "started"
    ended_at: datetime | None = None
    used: TokenUse = NOTHING_USED
    reason: str = ""
    draft: Draft | None = None
    closing: bool = False  # the request ends with it, without an answer

    @property
    def id(self) -> str:
        """The same for the same request and number, wherever it is computed; names the reservation as well."""
        return attempt_id(self.origin.tenant, self.request_id, self.number)


def attempt_id(tenant: str, request_id: str, number: int) -> str:
    """Derive an attempt's id."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"headrace-attempt:{tenant}/{request_id}/{number}"))


class AttemptFailed(Exception):
    """A model call that gave no answer: `reason` is a stable code, `used` what is known to have been used.

    `unknown` where nobody can say how far the model came.
    """

    def __init__(
        self,
        reason: str,
        *,
        used: TokenUse = NOTHING_USED,
        retry: bool = True,
        retry_after_s: float = 0.0,
        unknown: bool = False,
    ) -> None:
        super().__init__(reason)
        self.unknown = unknown
        self.reason, self.used, self.retry, self.retry_after_s = reason, used, retry, retry_after_s
