"""Tiers in the ledger: a month is paid unit by unit, however its usage is cut, repeated and spread over replicas."""

import asyncio
import random
from collections import Counter
from decimal import Decimal
from functools import partial
from itertools import pairwise

import pytest
from headrace_messaging import event_id
from headrace_meter.adapters.memory import MemoryLedger
from headrace_meter.adapters.tables import MONTH_COUNTS
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

TENANTS = ("acme", "globex")
MICRO = 10**6  # picos


def one_by_one(quantity):
    """Price every unit of a month by itself, by the tiers of the model `tiered`, without the code under test."""
    return sum((3 if number <= 25 else 2 if number <= 70 else 1) * MICRO for number in range(1, quantity + 1))


def graduated(make_usage, number, *, tokens, tenant="acme", **fields):
    """Make a usage of a model with tiers; prompts above 40 tokens have other ones."""
    return make_usage(
        number, tenant=tenant, model="tiered", quantities={"input_tokens": tokens}, reservation_id="", **fields
    )


async def spent(meter):
    """Return what each tenant has spent, by its balance, and by the rows of the ledger."""
    balances = [(await meter.account(tenant)).spent_picos for tenant in TENANTS]
    rows = [sum(each.cost_picos for each in (await meter.report(tenant=tenant)).sums) for tenant in TENANTS]
    assert balances == rows
    return balances


@settings(max_examples=80)
@given(data=st.data())
def test_any_cut_any_order_and_any_repetition_cost_what_every_unit_costs_by_itself(make_meter, make_usage, data):
    """Usages of two tenants, shuffled, repeated, cut into parts of any size: the sum is that of a count on fingers."""
    sizes = data.draw(st.lists(st.integers(0, 40), min_size=1, max_size=12))
    used = [graduated(make_usage, at, tokens=size, tenant=TENANTS[at % 2]) for at, size in enumerate(sizes)]
    again = data.draw(st.lists(st.sampled_from(used), max_size=8))
    told = data.draw(st.permutations([(one.usage_id, one) for one in [*used, *again]]))
    cuts = sorted({0, len(told), *data.draw(st.lists(st.integers(0, len(told)), max_size=4))})

    async def book():
        meter = make_meter(MemoryLedger(), acme=None, globex=None)
        for begin, end in pairwise(cuts):
            await meter.book(told[begin:end])
        return await spent(meter)

    assert asyncio.run(book()) == [one_by_one(sum(sizes[at::2])) for at in range(2)]


@pytest.mark.parametrize("seed", range(2))
async def test_replicas_count_one_month_together(open_sql, make_meter, make_usage, patiently, seed):
    """Three replicas book two tenants' usage at once, in parts and by calls, each fact twice: each unit counts once."""
    chance = random.Random(seed)
    replicas = [make_meter(await open_sql(), acme=None, globex=None) for _ in range(3)]
    used = [graduated(make_usage, at, tokens=chance.randrange(40), tenant=chance.choice(TENANTS)) for at in range(24)]
    told = [(one.usage_id, one) for one in used * 2]
    chance.shuffle(told)
    parts = [told[at : at + 5] for at in range(0, len(told), 5)]

    async def book(at, part):
        meter = replicas[at % 3]
        if at % 2:
            await patiently(lambda: meter.book(part))
        else:
            await asyncio.gather(*(patiently(partial(meter.settle, one)) for _, one in part))

    await asyncio.gather(*(book(at, part) for at, part in enumerate(parts)))
    tokens = Counter()
    for one in used:
        tokens[one.tenant] += one.quantities["input_tokens"]
    assert await spent(replicas[0]) == [one_by_one(tokens[tenant]) for tenant in TENANTS]
    rows = await replicas[1].ledger.told("cost")
    assert len({id_ for id_, _ in rows}) == len(rows)
    billed = {
        tenant: sum(Decimal(row["BilledCost"]) for _, row in rows if row["SubAccountId"] == tenant)
        for tenant in TENANTS
    }
    assert billed == {tenant: Decimal(one_by_one(tokens[tenant])).scaleb(-12) for tenant in TENANTS}


async def test_a_usage_across_a_boundary_is_a_charge_and_a_cost_row_a_tier(open_sql, make_meter, make_usage):
    """Each under an id of its own, which a redelivery does not change; quantity times unit price is its cost."""
    meter = make_meter(await open_sql(), acme=None)
    for _ in range(2):
        assert await meter.use(graduated(make_usage, 1, tokens=30)) == one_by_one(30)
        assert await meter.settle(graduated(make_usage, 2, tokens=40)) == one_by_one(70) - one_by_one(30)

    rows = await meter.ledger.told("cost")
    assert [(row["x_UsageId"], row["ConsumedQuantity"], row["SkuPriceId"].split("/")[-1]) for _, row in rows] == [
        ("u1", "25", "tier-1"),
        ("u1", "5", "tier-2"),
        ("u2", "40", "tier-2"),
    ]
    assert all(
        Decimal(row["PricingQuantity"]) * Decimal(row["ContractedUnitPrice"]) == Decimal(row["BilledCost"])
        for _, row in rows
    )
    assert [id_ for id_, _ in rows] == [
        event_id("acme/u1", "cost.input_tokens"),
        event_id("acme/u1", "cost.input_tokens", index=1),
        event_id("acme/u2", "cost.input_tokens"),
    ]


async def test_what_counts_is_the_tenants_own_month_model_and_meter(meter, make_usage):
    """Not another tenant's, another month's, another meter's; and all sizes of prompt count together."""
    october = make_usage().started_at.replace(month=10)
    await meter.use(graduated(make_usage, 1, tokens=30, tenant="globex"))
    await meter.use(graduated(make_usage, 2, tokens=30, started_at=october))
    await meter.use(make_usage(3, model="tiered", quantities={"output_tokens": 90}))
    assert await meter.use(graduated(make_usage, 4, tokens=25)) == 75 * MICRO

    assert await meter.use(graduated(make_usage, 5, tokens=80)) == (75 * 6 + 5 * 4) * MICRO  # 25 of its 100 were used
    assert await meter.use(graduated(make_usage, 6, tokens=10)) == 10 * MICRO


async def test_usage_that_was_rated_late_counts_from_when_it_was_booked(meter, make_usage):
    """It neither moves what was paid before nor is it left out."""
    await meter.use(make_usage(1, model="late", quantities={"input_tokens": 20}))
    tiers = [{"up_to": 25, "price": "3"}, {"price": "1"}]
    assert await meter.rerate([{"model": "late", "from": "2026-01-01", "per_million": {"input_tokens": tiers}}]) == 1

    assert await meter.use(make_usage(2, model="late", quantities={"input_tokens": 10})) == (5 * 3 + 5 * 1) * MICRO


async def test_a_book_that_gets_tiers_within_a_month_goes_on_from_what_the_month_had(meter, make_usage):
    """Quantities count whether or not their price had tiers."""
    await meter.use(make_usage(1, quantities={"input_tokens": 20}))
    tiers = [{"up_to": 25, "price": "3"}, {"price": "1"}]
    await meter.rerate([{"model": "m", "from": "2026-01-01", "per_million": {"input_tokens": tiers}}])

    assert await meter.use(make_usage(2, quantities={"input_tokens": 10})) == (5 * 3 + 5 * 1) * MICRO


@pytest.mark.parametrize("seed", range(2))
async def test_what_is_counted_is_what_was_charged(open_sql, make_meter, make_usage, seed):
    """The running count is the sum of the charges, meter by meter."""
    chance = random.Random(seed)
    meter = make_meter(await open_sql(), acme=None, globex=None)
    for at in range(12):
        one = make_usage(at, model=chance.choice(["m", "tiered"]), tenant=chance.choice(TENANTS))
        await meter.use(one if chance.random() < 0.8 else make_usage(at, status="failed", quantities={}))

    async with meter.ledger.database.read() as connection:
        rows = await connection.execute(select(MONTH_COUNTS))
        counted = {(row.tenant, row.period, row.model, row.meter): row.quantity for row in rows}
    charged = {
        (tenant, "2026-11", each.group[0], each.meter): each.quantity
        for tenant in TENANTS
        for each in (await meter.report("model", tenant=tenant)).sums
        if each.quantity
    }
    assert counted == charged
