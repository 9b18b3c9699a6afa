"""The judgement of `make chaos-ledger` finds each fault that is planted, and nothing where all is well."""

from dataclasses import replace
from decimal import Decimal

import pytest
from chaos.evidence import Seen
from chaos.ledger.judgement import judge
from chaos.ledger.usages import TENANTS, cost_of, deliveries, usages

SEED = 7
LISTED = usages(SEED, 400)


def row(used, meter, count, cost):
    """Make the cost row of a meter of a usage."""
    payload = {"x_UsageId": used.id, "SkuMeter": meter, "SubAccountId": used.tenant, "ConsumedQuantity": str(count)}
    return Seen("cost", 0, 0, 0, {"ce_id": f"{used.id}/{meter}"}, payload | {"BilledCost": str(cost)})


def rows_of(used):
    """Make the cost rows of a usage, its whole cost on the first."""
    meters = used.quantities or {"requests": 0}
    return [row(used, meter, count, 0 if at else used.cost) for at, (meter, count) in enumerate(meters.items())]


WELL = [each for used in LISTED for each in rows_of(used)]
TOLD = {tenant: cost_of(LISTED, tenant) for tenant in TENANTS}


def found(costs=WELL, told=TOLD):
    """Return how many of what is wrong."""
    return {name: count for name, count in judge(LISTED, costs, told).counts().items() if count}


def test_all_is_well_where_the_topic_and_the_ledger_have_the_list():
    """Nothing is found, whatever the order."""
    assert found() == found(WELL[::-1]) == {}


def test_a_row_that_is_missing_is_found():
    """And the sums of its tenant and meter with it."""
    gone = next(at for at, one in enumerate(WELL) if one.payload["BilledCost"] == "0" and at)
    assert found(WELL[:gone] + WELL[gone + 1 :])["missing"] == 1


def test_a_row_twice_is_found():
    """By its event id; and by its usage and meter where it comes under another id."""
    assert found([*WELL, WELL[0]])["duplicated"] == 2
    other = replace(WELL[0], headers={"ce_id": "another"})
    assert found([*WELL, other])["duplicated"] == 1


def test_a_row_of_nobody_is_found():
    """A usage that is not on the list, or a meter that it did not have."""
    assert found([*WELL, row(replace(LISTED[0], id="nobody"), "input_tokens", 0, 0)]) == {"strays": 1}
    assert found([*WELL, row(LISTED[0], "embedding_tokens", 0, 0)]) == {"strays": 1}


@pytest.mark.parametrize("field", ["SubAccountId", "ConsumedQuantity"])
def test_a_row_with_something_else_is_found(field):
    """Somebody else's, or another quantity."""
    changed = replace(WELL[0], payload=WELL[0].payload | {field: "7777777"})
    assert found([changed, *WELL[1:]])["wrong"] == 1


def test_a_total_that_is_off_by_the_last_digit_is_found():
    """In the ledger as on the topic; and a tenant that the ledger does not know."""
    off = Decimal("0.000000000001")
    assert found(told=TOLD | {TENANTS[3]: TOLD[TENANTS[3]] + off}) == {"totals": 1}
    first = WELL[0].payload
    changed = replace(WELL[0], payload=first | {"BilledCost": str(Decimal(first["BilledCost"]) + off)})
    assert found([changed, *WELL[1:]]) == {"totals": 1}
    assert found(told={}) == {"totals": len(TENANTS)}


def test_a_run_is_what_it_says():
    """All once, one in ten again, one in a hundred late and from another month; the same seed gives the same."""
    listed = usages(SEED, 20_000)
    told = deliveries(SEED, listed)
    assert {one.id for one in told} == {one.id for one in listed}
    assert 1_800 < len(told) - len(listed) < 2_200
    assert 150 < sum(one.late for one in listed) < 250
    assert {one.began.month for one in listed if one.late} == {10}
    assert told == deliveries(SEED, usages(SEED, 20_000))
