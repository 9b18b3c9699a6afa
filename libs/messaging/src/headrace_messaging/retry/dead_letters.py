"""Dead letters: the original bytes and headers, and beside them why and where they failed.

They lie on `<topic>.<group>.dlq` under the original key. Listing, replaying and dropping them is libs/client's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from headrace.topics import topic
from headrace_errors import HeadraceError

from headrace_messaging.codec import Blobs
from headrace_messaging.envelope import rfc3339
from headrace_messaging.event import Received, Record
from headrace_messaging.retry.parcels import pack

PREFIX: Final = "dlq"
_DETAIL_CHARACTERS_MAX = 500


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a message was given up. A bug's detail is its class: an exception's text may hold content."""

    error_class: str
    reason: str
    detail: str

    @classmethod
    def of(cls, error: BaseException) -> Cause:
        """Describe an error: ours by reason and detail, anything else by its class alone."""
        if isinstance(error, HeadraceError):
            return cls(type(error).__name__, error.reason, error.detail[:_DETAIL_CHARACTERS_MAX])
        return cls(type(error).__name__, "bug", type(error).__name__)


async def dead_letter(
    received: Received,
    cause: Cause,
    *,
    group: str,
    event_id: str,
    attempts: int,
    code_version: str,
    blobs: Blobs | None,
) -> Record:
    """Make the dead letter of a record; what is too large for the bus is kept as a blob."""
    facts = {
        "group": group,
        "event_id": event_id,
        "error_class": cause.error_class,
        "reason": cause.reason,
        "detail": cause.detail,
        "attempts": str(attempts),
        "code_version": code_version,
        "time": rfc3339(datetime.now(UTC)),
    }
    return await pack(received, facts, prefix=PREFIX, to=topic(received.topic).dead_letters(group), blobs=blobs)
