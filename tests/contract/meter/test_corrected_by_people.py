"""What people find out of an attempt that nobody else could tell of: booked once, and nothing stays held for it."""

from datetime import timedelta

import pytest
from google.protobuf import json_format
from headrace import topics
from headrace.usage.v1.correction_pb2 import UsageCorrected
from headrace_errors import InvalidMessage
from headrace_messaging import Envelope, Event
from headrace_meter.budgets import Budget
from headrace_meter.entrypoints.kafka import subscriptions

MICRO = 10**6  # picos


def correction(noon, number=1, tokens=80, *, event_id="c1", offset=0, **fields):
    """Make the event that says what the n-th attempt used, which held as much as its id says."""
    usage = {
        "attempt_id": f"a{number}",
        "request_id": "r1",
        "reservation_id": f"a{number}",
        "attempt": number,
        "operation": "generate",
        "model": "m",
        "provider": "headrace",
        "status": "corrected",
        "quantities": [{"meter": "input_tokens", "quantity": tokens}] if tokens else [],
        "started_at": "2026-11-21T12:00:00Z",
        "ended_at": "2026-11-21T12:00:01Z",
    } | fields.pop("usage", {})
    said = {"reason": "the bill", "corrected_by": "alice", "corrected_at": "2026-11-21T13:00:00Z"} | fields
    payload = json_format.ParseDict({"usage": usage} | said, UsageCorrected())
    envelope = Envelope(id=event_id, type="t", source="/test", time=noon, tenant="acme")
    return Event(envelope, payload, "corrections", "k", 0, offset, noon)


@pytest.fixture
def correct(meter, noon):
    """Return what books a correction's event, as its subscription does."""
    made = subscriptions(transaction=meter.ledger.transaction, rules=meter.rules)
    handler = next(each.handler for each in made if each.topic == topics.USAGE_CORRECTED)

    async def book(number=1, tokens=80, **fields):
        await handler(correction(noon, number, tokens, **fields))

    return book


async def test_an_unknown_attempt_holds_a_lifetime_budget_until_it_is_corrected(meter, correct, make_usage):
    """What it used is spent, the rest is free again; told again, nothing changes."""
    await meter.declare(Budget(tenant="acme", period="lifetime", amount_picos=1_000 * MICRO))
    await meter.reserve(tokens=900)
    await meter.use(make_usage(status="unknown", quantities={}))
    assert await meter.unknown() == [("u1", 0, 900 * MICRO)]

    for offset in range(2):
        await correct(offset=offset)

    whole = await meter.account(period="lifetime", budget="lifetime")
    assert (whole.reserved_picos, whole.spent_picos) == (0, 80 * MICRO)
    assert await meter.unknown() == []
    await meter.reserve("a2", tokens=920)


async def test_nothing_is_an_answer_too(meter, correct, make_usage):
    """A provider that never got the call: nothing is spent, and nothing held."""
    await meter.reserve()
    await meter.use(make_usage(status="unknown", quantities={}))

    await correct(tokens=0)

    account = await meter.account()
    assert (account.reserved_picos, account.spent_picos, await meter.unknown()) == (0, 0, [])


async def test_an_estimate_is_taken_back(meter, correct, make_usage):
    """Charge by charge, as by a usage that comes later."""
    await meter.use(make_usage(estimated=True, quantities={"input_tokens": 100}))
    assert await meter.unknown() == [("u1", 100 * MICRO, 0)]

    await correct()

    assert (await meter.account()).spent_picos == 80 * MICRO
    assert (await meter.ledger.published())[0] == [(name, "input_tokens") for name in ("u1", "u1", "c1")]


@pytest.mark.parametrize("first", ["told", "corrected"])
async def test_what_is_told_after_all_counts_instead_of_what_people_said(meter, correct, make_usage, first):
    """Whichever comes first: an attempt is billed once, and who ran it knows best."""
    told = make_usage(usage_id="told", quantities={"input_tokens": 70})
    await meter.use(make_usage(status="unknown", quantities={}))
    if first == "corrected":
        await correct()
    await meter.use(told)
    if first == "told":
        await correct()

    assert (await meter.account()).spent_picos == 70 * MICRO
    (sums,) = [one for one in (await meter.report()).sums if one.meter == "input_tokens"]
    assert (sums.quantity, sums.cost_picos) == (70, 70 * MICRO)


async def test_a_correction_without_a_price_leaves_its_attempt_open(meter, correct, make_usage):
    """It counts once it has a price: until then the amount is held, and nobody is told that it is known."""
    await meter.reserve()
    await meter.use(make_usage(status="unknown", quantities={}))
    held = await meter.unknown()

    await correct(usage={"quantities": [{"meter": "nothing", "quantity": 1}]})

    assert (await meter.unknown(), (await meter.account()).reserved_picos) == (held, held[0][2])


async def test_unknown_attempts_are_listed_before_estimates_the_newest_first(meter, make_usage, noon):
    """Of one tenant, of one request where it is asked for; an attempt that is known by now is none of them."""
    for number, fields in enumerate(
        (
            {"estimated": True},
            {"status": "unknown"},
            {"status": "unknown", "request_id": "r2"},
            {"status": "unknown", "tenant": "globex"},
            {"estimated": True},
        ),
        start=1,
    ):
        await meter.use(make_usage(number, started_at=noon + timedelta(minutes=number), **fields))
    await meter.use(make_usage(5, usage_id="told"))

    assert [name for name, _, _ in await meter.unknown()] == ["u3", "u2", "u1"]
    assert [name for name, _, _ in await meter.unknown(request_id="r1")] == ["u2", "u1"]


async def test_audit_is_told_who_corrected_what_and_why(open_sql, make_meter, make_usage, noon):
    """Once, by meter, in the transaction that books it; quantities are counts, no text."""
    meter = make_meter(await open_sql())
    made = subscriptions(transaction=meter.ledger.transaction, rules=meter.rules)
    handler = next(each.handler for each in made if each.topic == topics.USAGE_CORRECTED)
    await meter.use(make_usage(estimated=True))

    for offset in range(2):
        await handler(correction(noon, offset=offset))

    ((_, told),) = await meter.ledger.audited("usage.corrected")
    assert (told.action, told.service, told.principal, told.request_id) == ("usage.corrected", "meter", "alice", "r1")
    assert dict(told.facts) == {"attempt_id": "a1", "usage_id": "c1", "reason": "the bill", "input_tokens": "80"}


async def test_no_meter_can_take_the_place_of_who_and_why(open_sql, make_meter, noon):
    """A meter may have any name: what it is called changes nothing else of the record."""
    meter = make_meter(await open_sql())
    made = subscriptions(transaction=meter.ledger.transaction, rules=meter.rules)
    handler = next(each.handler for each in made if each.topic == topics.USAGE_CORRECTED)

    await handler(correction(noon, usage={"quantities": [{"meter": "reason", "quantity": 7}]}))

    ((_, told),) = await meter.ledger.audited("usage.corrected")
    assert told.facts["reason"] == "the bill"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"reason": ""}, "reason is missing"),
        ({"corrected_by": ""}, "corrected_by is missing"),
        ({"corrected_at": "yesterday"}, "corrected_at is not an RFC 3339 time"),
        ({"usage": {"status": "completed"}}, "status is one of corrected"),
        ({"usage": {"estimated": True}}, "not estimated"),
        ({"usage": {"attempt_id": ""}}, "attempt_id is missing"),
        ({"usage": {"tenant": "globex"}}, "of tenant 'globex'"),
        ({"tokens": -1}, "negative quantity"),
    ],
)
async def test_a_wrong_correction_is_refused_with_its_reason(meter, correct, fields, said):
    """And changes nothing."""
    with pytest.raises(InvalidMessage, match=said):
        await correct(**fields)

    assert (await meter.report()).usages == 0
