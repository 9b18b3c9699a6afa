"""What the oracle judges by: what the generator published, what stock consumers read, what the null model logged.

Values only. None of them comes from a table of the product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Question:
    """A question that the bus took: `number` counts within its key, `at_ms` is when it was sent."""

    request_id: str
    key: str
    number: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Submission:
    """A document's next content, as the generator submitted it; `number` counts within the document."""

    submission_id: str
    document: str
    number: int


@dataclass(frozen=True, slots=True)
class Seen:
    """A record as a stock consumer reads it; the payload of a topic that is not JSON stays empty."""

    topic: str
    partition: int
    offset: int
    at_ms: int
    headers: Mapping[str, str]
    payload: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The event's id."""
        return self.headers.get("ce_id", "")

    @property
    def tenant(self) -> str:
        """Whose event it is; empty for the platform's own."""
        return self.headers.get("ce_tenant", "")

    @property
    def sequence(self) -> int:
        """The number of the event among those of its producer's transactions, in their order; 0 where it has none."""
        return int(self.headers.get("ce_sequence") or 0)


@dataclass(frozen=True, slots=True)
class Run:
    """One line of the null model's log."""

    request_id: str
    attempt: int


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything of one row: topics are read whole, read committed, and in the order of their partitions."""

    questions: Sequence[Question] = ()
    submissions: Sequence[Submission] = ()
    admitted: Sequence[Seen] = ()
    outcomes: Sequence[Seen] = ()
    statuses: Sequence[Seen] = ()
    usages: Sequence[Seen] = ()
    costs: Sequence[Seen] = ()
    decisions: Sequence[Seen] = ()
    audit: Sequence[Seen] = ()
    runs: Sequence[Run] = ()
