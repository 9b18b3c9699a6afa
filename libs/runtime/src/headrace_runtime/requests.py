"""What every service of the request path does alike: end a request, and call others on behalf of a message."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from headrace import topics
from headrace.answer.v1 import answer_pb2
from headrace.request.v1 import request_pb2
from headrace_messaging import Ended, Ending, Event, Outgoing, follow

from headrace_runtime.context import CallContext

DEADLINE_DEFAULT_S = 120.0
OUTCOMES = {
    "refused": answer_pb2.OUTCOME_REFUSED,
    "expired": answer_pb2.OUTCOME_EXPIRED,
    "failed": answer_pb2.OUTCOME_FAILED,
}


def end_request(stage: str) -> Ended:
    """Return the `ended` of a request's topic: it publishes `request.ended`, which only moderate consumes.

    Usage, model and timings that the message already carried go along.
    """

    async def ended(event: Event[Any], ending: Ending) -> Sequence[Outgoing]:
        carried = event.payload
        payload = request_pb2.RequestEnded(
            request_id=getattr(carried, "request_id", "") or event.envelope.correlation_id or event.envelope.id,
            outcome=OUTCOMES[ending.outcome],
            reason=ending.reason,
            detail=ending.detail,
            stage=stage,
            timings_ms=getattr(carried, "timings_ms", {}),
        )
        return [follow(event, topics.REQUEST_ENDED, payload, stage=f"{stage}.ended")]

    return ended


def call_of(event: Event[Any], principals: Sequence[str]) -> CallContext:
    """Return the context for calls on behalf of `event`: its tenant, request and deadline."""
    deadline = event.envelope.deadline or datetime.now(UTC) + timedelta(seconds=DEADLINE_DEFAULT_S)
    request_id = getattr(event.payload, "request_id", "") or event.envelope.correlation_id
    return CallContext(event.envelope.tenant, tuple(principals), deadline, request_id)
