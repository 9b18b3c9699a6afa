"""What the topics bring is booked together, and each cost row stays in the trace of its own usage."""

import json
from dataclasses import replace

import pytest
from headrace import topics
from headrace.answer.v1.answer_pb2 import AnswerCompleted
from headrace.usage.v1.usage_pb2 import Quantity, UsageRecorded
from headrace_errors import InvalidMessage
from headrace_messaging import Envelope, Event
from headrace_meter.entrypoints.kafka import subscriptions
from sqlalchemy import select

TRACES = [f"00-{number:032x}-{number:016x}-01" for number in (1, 2, 3)]


def delivered(topic, id_, payload, noon, *, offset, trace=""):
    """Make an event as a partition delivers it."""
    envelope = Envelope(id=id_, type=topic, source="/test", time=noon, tenant="acme", traceparent=trace)
    return Event(envelope, payload, topic, "acme", 0, offset, noon)


def used(number, *, model="m", tokens=10):
    """Make the n-th usage's message."""
    return UsageRecorded(
        attempt_id=f"a{number}",
        request_id="r1",
        operation="generate",
        model=model,
        provider="headrace",
        status="completed",
        quantities=[Quantity(meter="input_tokens", quantity=tokens)],
        started_at="2026-11-21T12:00:00Z",
        ended_at="2026-11-21T12:00:01Z",
        reservation_id=f"a{number}",
        attempt=1,
    )


@pytest.fixture
async def booked(open_sql, make_meter):
    """Return the use cases on SQL, acme with a limit that a few hundred tokens reach, and meter's two subscriptions."""
    meter = make_meter(await open_sql(), acme=400 * 10**6)
    await meter.declare(*meter.budgets)
    by_topic = {each.topic: each for each in subscriptions(transaction=meter.ledger.transaction, rules=meter.rules)}
    return meter, by_topic[topics.USAGE_RECORDED], by_topic[topics.ANSWER_COMPLETED]


async def test_more_than_an_attempt_can_use_is_refused(booked, noon):
    """A month's count must not pass what a column holds, also where a price is 0."""
    meter, usages, _ = booked
    with pytest.raises(InvalidMessage) as refused:
        await usages.handler(delivered(topics.USAGE_RECORDED, "u", used(0, tokens=10**15 + 1), noon, offset=0))

    assert refused.value.reason == "quantity_too_large"
    assert (await meter.account()).spent_picos == 0


async def test_each_cost_row_stays_in_the_trace_of_its_usage(booked, noon):
    """Also the threshold that one of them crosses."""
    meter, usages, _ = booked
    await usages.together(
        [
            delivered(topics.USAGE_RECORDED, f"u{at}", used(at, tokens=tokens), noon, offset=at, trace=TRACES[at])
            for at, tokens in enumerate((10, 250, 20))
        ]
    )

    async with meter.ledger.database.read() as connection:
        rows = (await connection.execute(select(meter.ledger.table).order_by(meter.ledger.table.c.seq))).all()
    traces = [
        (row.topic, dict(json.loads(row.headers))["ce_traceparent"].split("-")[1])
        for row in rows
        if row.topic != topics.AUDIT_SUBMITTED  # of the budget, as it was declared
    ]
    ids = [trace.split("-")[1] for trace in TRACES]
    assert traces == [*((topics.COST_RECORDED, id_) for id_ in ids), (topics.BUDGET_CROSSED, ids[1])]


async def test_one_event_is_booked_by_the_same_code(booked, noon):
    """An outcome and a usage by themselves: what never started is given back."""
    meter, usages, outcomes = booked
    await meter.reserve("a0")
    await meter.reserve("a1")
    completed = AnswerCompleted(request_id="r1", tenant="acme")
    completed.usage.attempts = 1
    await outcomes.handler(delivered(topics.ANSWER_COMPLETED, "o1", completed, noon, offset=0))
    assert (await meter.account()).reserved_picos == 200 * 10**6
    await usages.handler(delivered(topics.USAGE_RECORDED, "u0", used(0), noon, offset=0))

    account = await meter.account()
    assert (account.reserved_picos, account.spent_picos) == (0, 10 * 10**6)


async def test_what_cannot_be_read_leaves_the_others_to_be_booked_by_themselves(booked, noon):
    """The call fails as a whole and books nothing."""
    meter, usages, _ = booked
    events = [delivered(topics.USAGE_RECORDED, f"u{at}", used(at), noon, offset=at) for at in range(2)]
    with pytest.raises(InvalidMessage):
        await usages.together([*events, replace(events[1], payload=used(2, model=""), offset=2)])
    assert (await meter.account()).spent_picos == 0

    await usages.together(events)
    assert (await meter.account()).spent_picos == 20 * 10**6
