"""The topic that audit consumes: what every service decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from headrace import topics
from headrace.audit.v1.events_pb2 import AuditSubmitted
from headrace_messaging import Ended, Ending, Event, Handler, Outgoing, Subscription

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

    return [Subscription(topics.AUDIT_SUBMITTED, on_audit_submitted, ended=_kept_by(on_audit_submitted))]


def _kept_by(handler: Handler) -> Ended:
    """Keep a fact whatever its deadline says: only what cannot be understood ends, as a dead letter."""

    async def ended(event: Event[Any], ending: Ending) -> Sequence[Outgoing]:
        return () if ending.reason == "dead_lettered" else await handler(event)

    return ended
