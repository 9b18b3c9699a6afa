"""Reconciliation: equal only when every usage is rated once, and all three places say the same."""

from copy import deepcopy
from datetime import UTC, datetime

import pytest
from headrace.cost.v1.cost_pb2 import CostRecorded
from headrace.cost.v1.credit_pb2 import CreditGranted
from headrace.meter.v1.meter_service_pb2 import GetUsageResponse, UsageRow
from headrace.usage.v1.usage_pb2 import Quantity, UsageRecorded
from headrace_client import Tally, reconcile
from headrace_client.costs import Held, Span
from headrace_messaging import Received

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def usage(number: int, began="2026-11-21T12:00:00Z", **quantities: int) -> tuple[str, UsageRecorded]:
    """Make the n-th usage event."""
    parts = [Quantity(meter=meter, quantity=count) for meter, count in quantities.items()]
    return f"u{number}", UsageRecorded(model="m", quantities=parts, started_at=began)


def cost(number: int, meter: str, quantity: int, billed: str, price="p", began="2026-11-21T12:00:00Z"):
    """Make one cost event of the n-th usage."""
    row = CostRecorded(
        x_usage_id=f"u{number}",
        x_model="m",
        sku_meter=meter,
        sku_price_id=price,
        consumed_quantity=str(quantity),
        billed_cost=billed,
        charge_period_start=began,
    )
    return f"c{number}-{meter}-{price}", row


def ledger(total: str = "0.3", usages: int = 2, **quantities: int) -> GetUsageResponse:
    """Make the ledger's answer, by model and meter; the first meter bears the cost."""
    rows = [
        UsageRow(group={"model": "m", "meter": meter}, quantities=[Quantity(meter=meter, quantity=count)])
        for meter, count in (quantities or {"input_tokens": 30}).items()
    ]
    rows[0].cost = total
    return GetUsageResponse(rows=rows, total_cost=total, usages=usages)


USAGES = [usage(1, input_tokens=10), usage(2, input_tokens=20)]
COSTS = [cost(1, "input_tokens", 10, "0.1"), cost(2, "input_tokens", 20, "0.2")]


def compared(usages, costs, said, tenant="acme", **span):
    """Compare the events of one tenant with what the ledger said."""
    with Tally() as tally:
        for event_id, payload in usages:
            tally.add_usage("acme", event_id, payload)
        for event_id, payload in costs:
            tally.add_cost("acme", event_id, payload)
        return reconcile(tally, tenant, said, Span(**span))


def test_all_three_agree():
    """Quantities by model and meter, costs, and every usage by itself."""
    found = compared(USAGES, COSTS, ledger())

    assert found.equal
    assert (
        found.as_json()["usage"] == found.as_json()["ledger"] == found.as_json()["cost_topic"] == {"m/input_tokens": 30}
    )
    assert (str(found.ledger_cost), found.ledger_cost) == ("0.3", found.cost_topic_cost)


def test_a_fact_delivered_twice_is_one_fact():
    """At least once is the topic's promise; the event id tells a repeat from a second fact."""
    assert compared([*USAGES, *deepcopy(USAGES)], [*COSTS, *deepcopy(COSTS)], ledger()).equal


def test_a_usage_told_again_with_other_times_is_the_same_fact():
    """A call that was repeated; what it used is what counts."""
    assert compared([*USAGES, usage(1, began="2026-11-21T12:00:01Z", input_tokens=10)], COSTS, ledger()).equal


def test_an_attempt_that_used_nothing_has_its_row():
    """Quantity 0 on the meter `requests` is nothing used and still one row."""
    found = compared([*USAGES, usage(3)], [*COSTS, cost(3, "requests", 0, "0")], ledger(usages=3))

    assert found.equal
    assert compared([*USAGES, usage(3)], COSTS, ledger(usages=3)).differences == ("usage u3 has no cost row",)


def test_a_meter_may_have_one_row_a_tier():
    """Two prices of one meter are two rows; their quantities add up to what was used."""
    costs = [cost(1, "input_tokens", 4, "0.04"), cost(1, "input_tokens", 6, "0.06", price="tier-2"), COSTS[1]]

    assert compared(USAGES, costs, ledger()).equal


def test_another_tenant_s_usage_is_not_this_one_s():
    """A usage id is its tenant's own."""
    found = compared(USAGES, COSTS, GetUsageResponse(), tenant="globex")

    assert (found.equal, found.usages) == (True, 0)


def guessed(number: int, **quantities: int) -> tuple[str, UsageRecorded]:
    """Make the estimate of the n-th usage's attempt."""
    _, payload = usage(number, **quantities)
    payload.attempt_id, payload.estimated = f"a{number}", True
    return f"g{number}", payload


def taken_back(event_id: str, row: CostRecorded) -> tuple[str, CostRecorded]:
    """Make the row that takes another one back."""
    back = deepcopy(row)
    back.x_corrects_row_id, back.charge_class = event_id, "Correction"
    back.consumed_quantity, back.billed_cost = f"-{row.consumed_quantity}", f"-{row.billed_cost}"
    return f"{event_id}-back", back


def corrected() -> tuple[list, list]:
    """Make the events of an attempt that was estimated at 25 and used 10."""
    known, row = deepcopy(USAGES[0]), cost(1, "input_tokens", 25, "0.25")
    known[1].attempt_id, row[1].x_usage_id = "a1", "g1"
    estimate = (f"{row[0]}-estimate", row[1])
    return [known, USAGES[1], guessed(1, input_tokens=25)], [*COSTS, estimate, taken_back(*estimate)]


@pytest.mark.parametrize("step", [1, -1])
def test_an_estimate_that_was_corrected_does_not_count(step):
    """Whichever the topic tells first; the rows of it are nothing together."""
    usages, costs = corrected()

    assert compared(usages[::step], costs[::step], ledger(usages=3)).equal


def test_an_estimate_counts_as_long_as_nothing_better_is_known():
    """Of its own attempt: another one's usage says nothing about it."""
    row = cost(3, "input_tokens", 5, "0.1")
    row[1].x_usage_id = "g3"

    assert compared([*USAGES, guessed(3, input_tokens=5)], [*COSTS, row], ledger("0.4", 3, input_tokens=35)).equal


def test_a_correction_that_takes_back_something_else_is_named():
    """Another amount than its original's, or the row of nobody."""
    usages, costs = corrected()
    costs[-1][1].billed_cost = "-0.24"
    found = compared(usages, costs, ledger("0.31", usages=3))

    assert found.differences == (f"cost row {costs[-1][0]} takes back what the topic does not hold",)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 2)])
@pytest.mark.parametrize(
    ("statuses", "tokens"), [(("unknown", "corrected"), 20), (("unknown", "corrected", "failed"), 30)]
)
def test_what_people_found_out_counts_until_who_ran_it_tells(order, statuses, tokens):
    """Whichever is published first; the rest stands in the ledger, taken back or as nothing."""
    told = []
    for number, status in enumerate(statuses, start=1):
        _, payload = usage(number, input_tokens=10 * number)
        payload.status, payload.attempt_id = status, "a1"
        told.append((f"u{number}", payload))
    told = [told[at] for at in order if at < len(told)]
    last = len(statuses)
    costs = [cost(number, "requests", 0, "0") for number in range(1, last)] + [
        cost(last, "input_tokens", tokens, "0.2")
    ]

    assert compared(told, costs, ledger(total="0.2", usages=last, input_tokens=tokens)).differences == ()


def credit(amount="5", reason="outage") -> CreditGranted:
    """Make a credit."""
    return CreditGranted(amount=amount, currency="USD", reason=reason, granted_at="2026-11-21T12:00:00Z")


def credit_row(billed="-5", credit_id="c1") -> CostRecorded:
    """Make its row."""
    return CostRecorded(x_credit_id=credit_id, billed_cost=billed, charge_period_start="2026-11-21T12:00:00Z")


@pytest.mark.parametrize(
    ("credits_", "rows", "ledger_says", "difference"),
    [
        ([credit(), credit(amount="5.00")], [credit_row(), credit_row()], "5", None),
        ([credit()], [], "5", "credit c1 has no cost row"),
        ([credit()], [credit_row("-4")], "5", "credit c1 has a cost row of another amount"),
        ([], [credit_row()], "5", "a cost row of credit c1, which was not granted"),
        ([credit(), credit(reason="mercy")], [credit_row()], "5", "credit c1 was published with two contents"),
        ([credit()], [credit_row()], "", "credits: granted 5, ledger 0, cost topic 5"),
    ],
)
def test_credits_are_compared_one_by_one_and_in_sum(credits_, rows, ledger_says, difference):
    """Granted, in the ledger, on the cost topic; what was used is compared beside them."""
    said = ledger()
    said.credits = ledger_says
    with Tally() as tally:
        for event_id, payload in USAGES:
            tally.add_usage("acme", event_id, payload)
        for event_id, payload in COSTS:
            tally.add_cost("acme", event_id, payload)
        for one in credits_:
            tally.add_credit("acme", "c1", one)
        for row in rows:
            tally.add_cost("acme", f"row-of-{row.x_credit_id}", row)
        found = reconcile(tally, "acme", said)

    assert found.differences[:1] == ((difference,) if difference else ())
    assert {place for place, amount in found.credits.items() if amount} <= {"granted", "ledger", "cost_topic"}


def test_only_the_span_is_compared():
    """What began before it, or at its end, may be missing anywhere."""
    early = usage(3, began="2026-11-21T11:59:59.999999Z", input_tokens=5)
    late = cost(4, "input_tokens", 5, "9", began="2026-11-21T13:00:00Z")
    span = {"since": NOON, "until": NOON.replace(hour=13)}

    assert compared([*USAGES, early], [*COSTS, late], ledger(), **span).equal
    assert not compared([*USAGES, early], [*COSTS, late], ledger()).equal


def test_sums_beyond_64_bits_are_exact():
    """Three rows of nine million units each are more picos than a 64-bit sum holds."""
    usages = [usage(number, input_tokens=1) for number in range(3)]
    costs = [cost(number, "input_tokens", 1, "9000000.000000000001") for number in range(3)]

    assert compared(usages, costs, ledger(total="27000000.000000000003", usages=3, input_tokens=3)).equal


@pytest.mark.parametrize(
    ("usages", "costs", "said", "difference"),
    [
        (USAGES, COSTS[:1], ledger(), "usage u2 has no cost row"),
        (USAGES[:1], COSTS, ledger(), "cost rows of usage u2, which the topic does not hold"),
        (USAGES, [*COSTS, ("c9", COSTS[0][1])], ledger(), "usage u1 has two cost rows for input_tokens at one price"),
        (USAGES, [COSTS[0], cost(2, "input_tokens", 21, "0.2")], ledger(), "usage u2: used 20 input_tokens, rated 21"),
        (USAGES, [*COSTS, cost(1, "input_tokens", 10, "0.11")], ledger(), "cost row c1-input_tokens-p was published"),
        ([*USAGES, usage(1, input_tokens=11)], COSTS, ledger(), "usage u1 was published with two contents"),
        (USAGES, COSTS, ledger(total="0.31"), "m/input_tokens: the ledger's cost is 0.31, the cost topic's 0.3"),
        (USAGES, COSTS, ledger(input_tokens=31), "m/input_tokens: usage 30, ledger 31"),
        (USAGES, COSTS, ledger(usages=3), "the ledger rated 3 usages, the topic holds 2"),
    ],
)  # fmt: skip
def test_any_difference_is_named(usages, costs, said, difference):
    """Lost, doubled, stray or changed: each is said in words."""
    found = compared(usages, costs, said)

    assert not found.equal
    assert any(line.startswith(difference) for line in found.differences)


def record(partition, offset, at):
    """Make a record of the topic `t`."""
    return Received("t", partition, offset, int(at.timestamp() * 1000), b"", b"", ())


def test_what_topics_hold_begins_with_the_youngest_first_record_of_those_cut_off():
    """A partition that still has its beginning sets no limit."""
    held = Held(NOON.replace(hour=20))
    held.extend({("t", 0): (0, 5), ("t", 1): (3, 9), ("t", 2): (1, 4)})
    for one in (record(0, 0, NOON.replace(hour=15)), record(1, 3, NOON), record(1, 4, NOON.replace(hour=16))):
        held.saw(one)
    held.saw(record(2, 1, NOON.replace(hour=13)))

    assert held.since == NOON.replace(hour=13)


def test_whole_topics_are_held_from_the_beginning_and_emptied_ones_not_at_all():
    """Of a partition that lost all it had, nothing before the question is known."""
    whole = Held(NOON)
    whole.extend({("t", 0): (0, 0)})
    assert whole.since is None

    whole.extend({("t", 1): (7, 7)})
    assert whole.since == NOON


def test_what_was_read_is_not_read_again():
    """Only what a partition got since."""
    held = Held(NOON)
    assert held.extend({("t", 0): (2, 5)}) == {("t", 0): (2, 5)}
    assert held.extend({("t", 0): (2, 8), ("t", 1): (0, 1)}) == {("t", 0): (5, 8), ("t", 1): (0, 1)}
    assert held.as_json()[0] == {"topic": "t", "partition": 0, "first_offset": 2, "end_offset": 8}
