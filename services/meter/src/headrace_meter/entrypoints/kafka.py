"""The topics that meter consumes: usage and its corrections, the outcomes that close what is open, credits, books."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Any, Protocol

from headrace import topics
from headrace.answer.v1.answer_pb2 import AnswerCompleted
from headrace.cost.v1.credit_pb2 import CreditGranted
from headrace.prices.v1.prices_pb2 import PricesPublished
from headrace.usage.v1.correction_pb2 import UsageCorrected
from headrace.usage.v1.usage_pb2 import UsageRecorded
from headrace_errors import InvalidMessage
from headrace_messaging import Ending, Event, Outgoing, Subscription

from headrace_meter.entrypoints.translation import book_of, credit_of, usage_of
from headrace_meter.entrypoints.unknown import correction_of
from headrace_meter.facts import Close, Grant, Trace, Use
from headrace_meter.handlers import Rules, book_all, granted, rated
from headrace_meter.ports import Transaction
from headrace_meter.published import PublishedBook, take_in

TOGETHER_MAX = 256
"""Messages that are booked in one transaction: it holds up the calls of their tenants for so long."""
_TURN_EVENTS = 8  # some milliseconds of this process: then its callers get their turn

ToFact = Callable[[Event[Any]], Awaitable[Use | Close | Grant]]


class NewTransaction(Protocol):
    """Opens the ledger's transactions."""

    def __call__(self, events: Sequence[Event[Any]] = (), tenants: Collection[str] = ()) -> Transaction:
        """Open the transaction of delivered events of one partition, or of tenants' calls."""
        ...


def prices_subscription(*, put: Callable[[Event[Any], PublishedBook], Awaitable[None]], rules: Rules) -> Subscription:
    """Return what takes published price books in; one that is no use is left to its dead letter, with the reason."""

    async def prices_published(event: Event[PricesPublished]) -> Sequence[Outgoing]:
        await take_in(book_of(event.payload), put=partial(put, event), in_force=rules.prices)
        return ()

    return Subscription(topics.PRICES_PUBLISHED, prices_published, _nothing_to_end, past_deadline="handle")


def subscriptions(*, transaction: NewTransaction, rules: Rules) -> list[Subscription]:
    """Return what meter subscribes to. Cost rows leave through the outbox, so handlers return nothing."""

    async def usage_recorded(event: Event[UsageRecorded]) -> Use:
        usage = usage_of(event.payload, usage_id=event.envelope.id, tenant=event.envelope.tenant)
        return await rated(usage, trace=_trace(event), rules=rules)

    async def usage_corrected(event: Event[UsageCorrected]) -> Use:
        usage, correction = correction_of(event.payload, usage_id=event.envelope.id, tenant=event.envelope.tenant)
        return await rated(usage, trace=_trace(event), rules=rules, correction=correction)

    async def credit_granted(event: Event[CreditGranted]) -> Grant:
        credit = credit_of(event.payload, credit_id=event.envelope.id, tenant=event.envelope.tenant)
        return granted(credit, trace=_trace(event), rules=rules)

    def booking(topic: str, fact_of: ToFact) -> Subscription:
        async def together(events: Sequence[Event[Any]]) -> None:
            facts: list[Use | Close | Grant] = []
            for event in events:
                if len(facts) % _TURN_EVENTS == _TURN_EVENTS - 1:
                    await asyncio.sleep(0)
                facts.append(await fact_of(event))
            await book_all(facts, transaction=transaction(events), rules=rules)

        async def one(event: Event[Any]) -> Sequence[Outgoing]:
            await together([event])
            return ()

        # All of them tell of what happened: it is booked whatever deadline it inherited.
        return Subscription(
            topic, one, _nothing_to_end, past_deadline="handle", together=together, together_max=TOGETHER_MAX
        )

    return [
        booking(topics.USAGE_RECORDED, usage_recorded),
        booking(topics.USAGE_CORRECTED, usage_corrected),
        booking(topics.ANSWER_COMPLETED, _answer_completed),
        booking(topics.CREDIT_GRANTED, credit_granted),
    ]


async def _answer_completed(event: Event[AnswerCompleted]) -> Close:
    counts = event.payload.usage
    request_id = event.payload.request_id or event.envelope.correlation_id
    if not request_id or not event.envelope.tenant:
        raise InvalidMessage("an outcome names its request and its tenant")
    return Close(
        tenant=event.envelope.tenant,
        request_id=request_id,
        attempts=counts.attempts,
        embedding_tokens=counts.embedding_tokens,
        at=event.received_at,
    )


def _trace(event: Event[Any]) -> Trace:
    return {"traceparent": event.envelope.traceparent, "tracestate": event.envelope.tracestate}


async def _nothing_to_end(_event: Event[Any], _ending: Ending) -> Sequence[Outgoing]:
    """Leave a fact that cannot be booked to its dead letter: no request waits for it."""
    return ()
