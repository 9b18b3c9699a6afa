"""What every service of the request path does alike: end a request, and call others on behalf of a message."""

from __future__ import annotations

from collections import OrderedDict
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


class EmbeddedTokens:
    """What embedding took for requests that are under way; their endings tell it, lest costs be called complete early.

    It is a note in memory: a request that ends after a restart of the service tells what its message carried. Of more
    than `requests_max` requests, the oldest are forgotten.
    """

    def __init__(self, requests_max: int = 10_000) -> None:
        self._requests_max = requests_max
        self._noted: OrderedDict[tuple[str, str], dict[int, int]] = OrderedDict()

    def note(self, tenant: str, request_id: str, texts: Sequence[str], tokens: int) -> None:
        """Note a call of embed. The same texts again count once: embed bills them once."""
        if not request_id:
            return
        self._noted.setdefault((tenant, request_id), {})[hash(tuple(texts))] = tokens
        if len(self._noted) > self._requests_max:
            self._noted.popitem(last=False)

    def take(self, tenant: str, request_id: str) -> int:
        """Return the tokens noted for a request, and forget them."""
        return sum(self._noted.pop((tenant, request_id), {}).values())


def end_request(stage: str, embedded: EmbeddedTokens) -> Ended:
    """Return the `ended` of a request's topic: it publishes `request.ended`, which only moderate consumes.

    Timings and embedding tokens that the message already carried go along, and the tokens noted in this service.
    """

    async def ended(event: Event[Any], ending: Ending) -> Sequence[Outgoing]:
        carried = event.payload
        request_id = getattr(carried, "request_id", "") or event.envelope.correlation_id or event.envelope.id
        tokens = getattr(carried, "embedding_tokens", 0) + embedded.take(event.envelope.tenant, request_id)
        payload = request_pb2.RequestEnded(
            request_id=request_id,
            outcome=OUTCOMES[ending.outcome],
            reason=ending.reason,
            detail=ending.detail,
            stage=stage,
            usage=answer_pb2.Usage(embedding_tokens=tokens),
            timings_ms=getattr(carried, "timings_ms", {}),
        )
        return [follow(event, topics.REQUEST_ENDED, payload, stage=f"{stage}.ended")]

    return ended


def call_of(event: Event[Any], principals: Sequence[str]) -> CallContext:
    """Return the context for calls on behalf of `event`: its tenant, request and deadline."""
    deadline = event.envelope.deadline or datetime.now(UTC) + timedelta(seconds=DEADLINE_DEFAULT_S)
    request_id = getattr(event.payload, "request_id", "") or event.envelope.correlation_id
    return CallContext(event.envelope.tenant, tuple(principals), deadline, request_id)
