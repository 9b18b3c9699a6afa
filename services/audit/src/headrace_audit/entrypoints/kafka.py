"""The topic that audit consumes: what every service decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from headrace import topics
from headrace.audit.v1.events_pb2 import AuditSubmitted
from headrace_messaging import Ending, Event, Outgoing, Subscription

from headrace_audit.checkpoints import Seal
from headrace_audit.domain import chain_of
from headrace_audit.handlers import record_decisions
from headrace_audit.ports import Clock, Delivery
from headrace_audit.translation import decision_of


def subscriptions(
    *, delivery: Callable[[str, Sequence[Event[Any]]], Delivery], seal: Seal, clock: Clock
) -> list[Subscription]:
    """Return what audit subscribes to. Links leave through the outbox, so the handlers return nothing."""

    async def on_audits_submitted(events: Sequence[Event[AuditSubmitted]]) -> None:
        decisions, chain = [decision_of(event) for event in events], chain_of(events[0].partition)
        await record_decisions(decisions, chain=chain, delivery=delivery(chain, events), seal=seal, clock=clock)

    async def on_audit_submitted(event: Event[AuditSubmitted]) -> Sequence[Outgoing]:
        await on_audits_submitted([event])
        return ()

    return [
        Subscription(
            topics.AUDIT_SUBMITTED,
            on_audit_submitted,
            _nothing_to_end,
            past_deadline="handle",  # a decision happened: it is recorded whatever deadline it inherited
            together=on_audits_submitted,
        )
    ]


async def _nothing_to_end(_event: Event[Any], _ending: Ending) -> Sequence[Outgoing]:
    """Leave a decision that cannot be recorded to its dead letter: no request waits for it."""
    return ()
