"""The topics that moderate consumes. What it publishes goes through its outbox, so that handlers return nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from headrace import topics
from headrace.feedback.v1 import feedback_pb2
from headrace.generate.v1 import events_pb2 as generate_pb2
from headrace.query.v1 import query_pb2
from headrace.request.v1 import request_pb2
from headrace_messaging import Ending, Event, Outgoing, Subscription
from headrace_telemetry import inject_context

from headrace_moderate import wire
from headrace_moderate.domain.identifiers import clean_identifier
from headrace_moderate.domain.requests import Arrival, Outcome
from headrace_moderate.domain.verdicts import Policy
from headrace_moderate.handlers.admit import admit_query
from headrace_moderate.handlers.decide import Cause, decide_by_draft, decide_by_end, decide_unregistered
from headrace_moderate.handlers.feedback import record_feedback
from headrace_moderate.ports import Clock, Feedback, Observer, Prices, Requests, Tenants

_RATINGS: dict[int, Literal["up", "down"]] = {feedback_pb2.RATING_UP: "up", feedback_pb2.RATING_DOWN: "down"}


def subscriptions(
    *, requests: Requests, tenants: Tenants, prices: Prices, policy: Policy, clock: Clock, observer: Observer
) -> list[Subscription]:
    """Return what moderate listens to, and what becomes of a message that cannot be handled."""

    async def on_query_requested(event: Event[query_pb2.QueryRequested]) -> Sequence[Outgoing]:
        query = wire.query(event.payload)
        await admit_query(
            query,
            _arrival(event),
            requests=requests,
            tenants=tenants,
            prices=prices,
            policy=policy,
            clock=clock,
            observer=observer,
        )
        return ()

    async def on_answer_drafted(event: Event[generate_pb2.AnswerDrafted]) -> Sequence[Outgoing]:
        draft = wire.draft(event.payload)
        await decide_by_draft(draft, _cause(event), requests=requests, policy=policy, clock=clock, observer=observer)
        return ()

    async def on_request_ended(event: Event[request_pb2.RequestEnded]) -> Sequence[Outgoing]:
        outcome = wire.ended(event.payload)
        await decide_by_end(outcome, _cause(event), requests=requests, clock=clock, observer=observer)
        return ()

    async def on_feedback_submitted(event: Event[feedback_pb2.FeedbackSubmitted]) -> Sequence[Outgoing]:
        await record_feedback(_feedback(event), requests=requests, clock=clock)
        return ()

    async def query_ended(event: Event[Any], ending: Ending) -> Sequence[Outgoing]:
        await decide_unregistered(_outcome(ending), _arrival(event), requests=requests, clock=clock, observer=observer)
        return ()

    async def word_ended(event: Event[Any], ending: Ending) -> Sequence[Outgoing]:
        # A draft, or another service's word, that cannot be read must still end its request.
        await decide_by_end(_outcome(ending), _cause(event), requests=requests, clock=clock, observer=observer)
        return ()

    async def feedback_ended(_event: Event[Any], _ending: Ending) -> Sequence[Outgoing]:
        return ()  # the dead letter is all there is to keep; the request that it is about is untouched

    # Deadlines are judged here, not before: a late answer is delivered as late, and a question that comes again after
    # its deadline must not end the request that it became.
    return [
        Subscription(topics.QUERY_REQUESTED, on_query_requested, query_ended, past_deadline="handle"),
        Subscription(topics.ANSWER_DRAFTED, on_answer_drafted, word_ended, past_deadline="handle"),
        Subscription(topics.REQUEST_ENDED, on_request_ended, word_ended, past_deadline="handle"),
        Subscription(topics.FEEDBACK_SUBMITTED, on_feedback_submitted, feedback_ended, past_deadline="handle"),
    ]


def _arrival(event: Event[Any]) -> Arrival:
    envelope = event.envelope
    return Arrival(
        event_id=envelope.id,
        request_id=_request_id(event),
        tenant=envelope.tenant,
        published_at=envelope.time.astimezone(UTC),
        auth_id=envelope.auth_id,
        deadline=envelope.deadline.astimezone(UTC) if envelope.deadline else None,
        idempotency_key=envelope.idempotency_key,
        priority=envelope.priority,
        traceparent=inject_context().get("traceparent", "") or envelope.traceparent,
    )


def _cause(event: Event[Any]) -> Cause:
    # As it was registered: an id that no header takes has a stand-in.
    return Cause(event.envelope.id, event.envelope.tenant, clean_identifier(_request_id(event)))


def _request_id(event: Event[Any]) -> str:
    stated: str = getattr(event.payload, "request_id", "")
    return stated or event.envelope.correlation_id or event.envelope.id


def _outcome(ending: Ending) -> Outcome:
    return Outcome(ending.outcome, ending.reason, ending.detail)


def _feedback(event: Event[feedback_pb2.FeedbackSubmitted]) -> Feedback:
    return Feedback(
        event_id=event.envelope.id,
        tenant=event.envelope.tenant,
        request_id=clean_identifier(event.payload.request_id),
        rating=_RATINGS.get(event.payload.rating, ""),
        correction=event.payload.correction,
        reason=event.payload.reason,
        submitted_at=min(event.envelope.time.astimezone(UTC), datetime.now(UTC)),
    )
