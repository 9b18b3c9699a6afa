"""One row per error class: how a subscriber and a gRPC server react. Names are protocol terms, not library objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headrace_errors._taxonomy import (
    DeadlineExceeded,
    InvalidMessage,
    Overloaded,
    QuotaExceeded,
    Refused,
    Unavailable,
)

Action = Literal["dead_letter", "end", "wait", "retry", "expire", "bug"]
Ending = Literal["refused", "expired", "failed"]


@dataclass(frozen=True)
class Reaction:
    """How the engines react to one error class.

    `kafka`: dead_letter (to the DLQ with its reason, and end the request), end (the request ends), wait (for a permit;
    no attempt is spent), retry (backoff up to the deadline), expire (the request ends as expired), bug (as dead_letter,
    and halt past a limit). `ending` is the outcome that the request gets when it ends by this reaction; `grpc` the
    status code's name.
    """

    kafka: Action
    grpc: str
    ending: Ending


REACTIONS: dict[type[Exception], Reaction] = {
    InvalidMessage: Reaction("dead_letter", "INVALID_ARGUMENT", "failed"),
    Refused: Reaction("end", "FAILED_PRECONDITION", "refused"),
    QuotaExceeded: Reaction("end", "RESOURCE_EXHAUSTED", "refused"),
    Overloaded: Reaction("wait", "RESOURCE_EXHAUSTED", "failed"),
    Unavailable: Reaction("retry", "UNAVAILABLE", "failed"),
    DeadlineExceeded: Reaction("expire", "DEADLINE_EXCEEDED", "expired"),
    Exception: Reaction("bug", "INTERNAL", "failed"),
}


def reaction_of(error: BaseException) -> Reaction:
    """Return the row of the nearest class in the error's ancestry; a bug's row for everything unknown."""
    for ancestor in type(error).__mro__:
        if ancestor in REACTIONS:
            return REACTIONS[ancestor]
    return REACTIONS[Exception]
