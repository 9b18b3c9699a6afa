"""The topic that audit consumes: what every service decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from headrace import topics
from headrace.audit.v1.events_pb2 import AuditSubmitted
from headrace_messaging import Ending, Event, Outgoing, Subscription

from headrace_audit.domain import chain_of
from headrace_audit.handlers import record_decision
from headrace_audit.ports import Clock, Delivery
from headrace_audit.translation import decision_of


def subscriptions(*, delivery: Callable[[Event[Any]], Delivery], clock: Clock) -> list[Subscription]:
    """Return what audit subscribes to. Links leave through the outbox, so the handler returns nothing."""

    async def on_audit_submitted(event: Event[AuditSubmitted]) -> Sequence[Outgoing]:
        decision, chain = decision_of(event), chain_of(event.partition)
        await record_decision(decision, chain=chain, delivery=delivery(event), clock=clock)
        return ()

    # A decision happened: it is recorded whatever deadline it inherited.
    return [Subscription(topics.AUDIT_SUBMITTED, on_audit_submitted, _nothing_to_end, past_deadline="handle")]


async def _nothing_to_end(_event: Event[Any], _ending: Ending) -> Sequence[Outgoing]:
    """Leave a decision that cannot be recorded to its dead letter: no request waits for it."""
    return ()
