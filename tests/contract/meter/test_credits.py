"""Money that is given back: once by its id, beside what was used, told to finance and to audit."""

from datetime import timedelta
from decimal import Decimal

import pytest
from headrace import topics
from headrace.cost.v1.credit_pb2 import CreditGranted
from headrace_errors import InvalidMessage
from headrace_messaging import Envelope, Event
from headrace_meter.domain import Credit
from headrace_meter.entrypoints.kafka import subscriptions
from headrace_meter.handlers import granted

UNIT = 10**12  # picos


def credit(noon, credit_id="c1", **fields):
    """Make a credit of 2.5 for acme."""
    made = {
        "tenant": "acme",
        "amount_picos": 5 * UNIT // 2,
        "currency": "USD",
        "reason": "outage",
        "granted_by": "alice",
    }
    return Credit(**{"credit_id": credit_id, "granted_at": noon} | made | fields)


async def give(meter, one, event_id=None):
    """Book a credit's event."""
    return await meter.book([(event_id or one.credit_id, granted(one, trace={}, rules=meter.rules))])


async def test_a_credit_is_booked_once_and_leaves_balances_alone(meter, make_usage, noon):
    """By its event or by another one with its id; what was used stays used, and counts against the budget."""
    await meter.use(make_usage())
    before = await meter.account()
    for event_id in ("c1", "c1", "told-again"):
        await give(meter, credit(noon), event_id)
    await give(meter, credit(noon, "c2", granted_at=noon + timedelta(days=1)))

    assert (await meter.report()).credits_picos == 5 * UNIT
    assert (await meter.report(since=noon + timedelta(hours=1))).credits_picos == 5 * UNIT // 2
    assert (await meter.report(before=noon + timedelta(hours=1))).credits_picos == 5 * UNIT // 2
    assert (await meter.report(request_id="r1")).credits_picos == 0
    assert (await meter.report(tenant="globex")).credits_picos == 0
    assert await meter.account() == before
    assert sum(one.cost_picos for one in (await meter.report()).sums) == before.spent_picos


async def test_a_credit_id_is_the_tenants_own(meter, noon):
    """Another tenant's credit of the same id is another credit."""
    await give(meter, credit(noon))
    await give(meter, credit(noon, tenant="globex", amount_picos=UNIT))

    assert (await meter.report(tenant="globex")).credits_picos == UNIT


async def test_finance_gets_a_row_and_audit_a_record(open_sql, make_meter, noon):
    """A FOCUS row of category Credit below zero, and who gave how much, why."""
    meter = make_meter(await open_sql())
    for _ in range(2):
        await give(meter, credit(noon))

    ((row_id, row),) = await meter.ledger.told("cost")
    assert (row["ChargeCategory"], Decimal(row["BilledCost"]), row["x_CreditId"]) == ("Credit", Decimal("-2.5"), "c1")
    assert (row["ChargeDescription"], row["ChargeClass"], row["SubAccountId"]) == ("outage", "", "acme")
    ((record_id, record),) = await meter.ledger.audited("credit.granted")
    assert (record.principal, record.facts["reason"]) == ("alice", "outage")
    assert record_id != row_id


def event_of(noon, *, tenant="acme", **fields):
    """Make a credit's event."""
    said = {"tenant": tenant, "amount": "2.5", "currency": "USD", "reason": "outage", "granted_by": "alice"}
    payload = CreditGranted(**said | {"granted_at": "2026-11-21T12:00:00Z"} | fields)
    return Event(Envelope(id="c1", type="t", source="/test", time=noon, tenant=tenant), payload, "t", "k", 0, 0, noon)


@pytest.fixture
def handler(meter):
    """Return what handles a credit's event."""
    made = subscriptions(transaction=meter.ledger.transaction, rules=meter.rules)
    return next(each.handler for each in made if each.topic == topics.CREDIT_GRANTED)


async def test_an_event_is_read_as_it_was_written(meter, handler, noon):
    """Amounts are decimals, exact to the last digit that the ledger has."""
    await handler(event_of(noon, amount="0.000000000001"))

    assert (await meter.report()).credits_picos == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"amount": "0"}, "above 0"),
        ({"amount": "-1"}, "above 0"),
        ({"amount": "NaN"}, "not an amount"),
        ({"amount": "0.0000000000001"}, "more decimals"),
        ({"amount": "99999999"}, "more than the ledger holds"),
        ({"currency": "EUR"}, "the ledger is in USD"),
        ({"reason": ""}, "reason is missing"),
        ({"granted_by": ""}, "granted_by is missing"),
        ({"granted_at": "2026-11-21T12:00:00"}, "no offset"),
        ({"tenant": "nobody"}, "not declared"),
    ],
)
async def test_a_wrong_credit_is_refused_with_its_reason(meter, handler, noon, fields, said):
    """And changes nothing."""
    with pytest.raises(InvalidMessage, match=said):
        await handler(event_of(noon, **fields))

    assert (await meter.report()).credits_picos == 0
