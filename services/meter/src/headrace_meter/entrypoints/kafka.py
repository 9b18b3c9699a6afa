"""The topics that meter consumes: usage, and the outcomes that close what is open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from headrace import topics
from headrace.answer.v1.answer_pb2 import AnswerCompleted
from headrace.usage.v1.usage_pb2 import UsageRecorded
from headrace_errors import InvalidMessage
from headrace_messaging import Ending, Event, Outgoing, Subscription

from headrace_meter.entrypoints.translation import usage_of
from headrace_meter.handlers import Rules, close_request, record_usage
from headrace_meter.ports import Transaction


class NewTransaction(Protocol):
    """Opens the ledger's transactions."""

    def __call__(self, event: Event[Any] | None = None, tenant: str | None = None) -> Transaction:
        """Open the transaction of one delivered event, or of a tenant's call."""
        ...


def subscriptions(*, transaction: NewTransaction, rules: Rules) -> list[Subscription]:
    """Return what meter subscribes to. Cost rows leave through the outbox, so handlers return nothing."""

    async def on_usage_recorded(event: Event[UsageRecorded]) -> Sequence[Outgoing]:
        usage = usage_of(event.payload, usage_id=event.envelope.id, tenant=event.envelope.tenant)
        await record_usage(usage, transaction=transaction(event), rules=rules)
        return ()

    async def on_answer_completed(event: Event[AnswerCompleted]) -> Sequence[Outgoing]:
        counts = event.payload.usage
        request_id = event.payload.request_id or event.envelope.correlation_id
        if not request_id or not event.envelope.tenant:
            raise InvalidMessage("an outcome names its request and its tenant")
        await close_request(
            event.envelope.tenant,
            request_id,
            attempts=counts.attempts,
            embedding_tokens=counts.embedding_tokens,
            at=event.received_at,
            transaction=transaction(event),
        )
        return ()

    return [
        # Both tell of what happened: it is booked whatever deadline it inherited.
        Subscription(topics.USAGE_RECORDED, on_usage_recorded, _nothing_to_end, past_deadline="handle"),
        Subscription(topics.ANSWER_COMPLETED, on_answer_completed, _nothing_to_end, past_deadline="handle"),
    ]


async def _nothing_to_end(_event: Event[Any], _ending: Ending) -> Sequence[Outgoing]:
    """Leave a fact that cannot be booked to its dead letter: no request waits for it."""
    return ()
