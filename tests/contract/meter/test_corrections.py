"""What was estimated is taken back once it is known what was used: whichever is told first, and however often."""

import asyncio
import random
from collections import defaultdict
from decimal import Decimal
from functools import partial
from itertools import pairwise

import pytest
from headrace_messaging import event_id
from headrace_meter.adapters.memory import MemoryLedger
from hypothesis import given, settings
from hypothesis import strategies as st

MICRO = 10**6  # picos
TENANTS = ("acme", "globex")


def estimate(make_usage, number=1, tokens=100, **fields):
    """Make a usage of which nobody knows how much it was."""
    fields = {"estimated": True, "status": "cancelled", "quantities": {"input_tokens": tokens}} | fields
    return make_usage(number, usage_id=f"guess-{number}", **fields)


def known(make_usage, number=1, tokens=80, **fields):
    """Make the usage of the same attempt as it was."""
    return make_usage(number, usage_id=f"known-{number}", **{"quantities": {"input_tokens": tokens}} | fields)


async def test_an_estimate_is_taken_back_by_what_is_known_later(meter, make_usage):
    """The balance and the sums are those of what was used; told again, nothing changes."""
    for _ in range(2):
        await meter.use(estimate(make_usage))
        assert await meter.use(known(make_usage)) == 80 * MICRO
        assert await meter.settle(known(make_usage)) == 80 * MICRO

    assert (await meter.account()).spent_picos == 80 * MICRO
    report = await meter.report()
    assert [(one.meter, one.quantity, one.cost_picos) for one in report.sums] == [("input_tokens", 80, 80 * MICRO)]
    assert report.usages == 2
    assert (await meter.ledger.published())[0] == [
        (f"{name}-1", "input_tokens") for name in ("guess", "guess", "known")
    ]


async def test_what_is_known_first_leaves_nothing_of_an_estimate_that_comes_late(meter, make_usage):
    """The estimate stands in the ledger as an attempt that used nothing: no money, and no row is missing."""
    await meter.use(known(make_usage))
    assert await meter.use(estimate(make_usage)) == 0

    assert (await meter.account()).spent_picos == 80 * MICRO
    assert (await meter.ledger.published())[0] == [("known-1", "input_tokens"), ("guess-1", "requests")]


async def test_the_rows_of_a_correction_name_the_rows_that_they_take_back(open_sql, make_meter, make_usage):
    """Each is the negative of its original, at its price, under an id of its own; what was used is one, too."""
    meter = make_meter(await open_sql())
    used = {"input_tokens": 100, "output_tokens": 7}
    await meter.book([("g", estimate(make_usage, quantities=used)), ("k", known(make_usage))])

    rows = await meter.ledger.told("cost")
    first, second, back_first, back_second, corrected = (row for _, row in rows)
    assert [row.get("ChargeClass", "") for _, row in rows] == ["", "", "Correction", "Correction", "Correction"]
    for (id_, original), taken in zip(rows[:2], (back_first, back_second), strict=True):
        assert taken["x_CorrectsRowId"] == id_
        for column in ("BilledCost", "ListCost", "ContractedCost", "ConsumedQuantity", "PricingQuantity"):
            assert Decimal(taken[column]) == -Decimal(original[column])
        for column in ("SkuPriceId", "ListUnitPrice", "x_UsageId", "ChargePeriodStart", "x_Model", "ResourceId"):
            assert taken[column] == original[column]
    assert [row["x_CorrectsRowId"] for row in (first, second, corrected)] == ["", "", ""]
    assert (corrected["x_UsageId"], corrected["ResourceId"]) == ("known-1", first["ResourceId"])
    assert rows[2][0] == event_id("acme/guess-1", "cost.input_tokens", index=1)
    assert len({id_ for id_, _ in rows}) == 5
    assert sum(Decimal(row["BilledCost"]) for _, row in rows) == Decimal("0.00008")
    assert second["SkuMeter"] == back_second["SkuMeter"] == "output_tokens"


async def test_an_attempt_without_a_known_end_is_settled_by_its_correction(meter, make_usage):
    """Its reservation was held as unknown until then; nothing was charged for it, so nothing is taken back."""
    await meter.reserve()
    await meter.use(make_usage(status="unknown", quantities={}))
    assert (await meter.account()).reserved_picos == 100 * MICRO

    assert await meter.use(known(make_usage)) == 80 * MICRO
    account = await meter.account()
    assert (account.reserved_picos, account.spent_picos) == (0, 80 * MICRO)


async def test_a_correction_goes_to_the_month_of_what_it_takes_back(meter, make_usage):
    """Each month pays what began in it."""
    november = make_usage().started_at
    await meter.use(estimate(make_usage, started_at=november.replace(month=10)))
    await meter.use(known(make_usage))

    assert (await meter.account(period="2026-10")).spent_picos == 0
    assert (await meter.account()).spent_picos == 80 * MICRO


async def test_an_estimate_stands_until_what_was_used_has_a_price(meter, make_usage):
    """Half a correction is never booked."""
    await meter.use(estimate(make_usage))
    await meter.use(known(make_usage, quantities={"embedding_tokens": 5}))
    assert (await meter.account()).spent_picos == 100 * MICRO

    price = {"input_tokens": "1", "embedding_tokens": "2"}
    assert await meter.rerate([{"model": "m", "from": "2026-01-01", "per_million": price}]) == 1
    assert (await meter.account()).spent_picos == 10 * MICRO


@pytest.mark.parametrize(("tokens", "cost"), [(30, 25 * 3 + 5 * 2), (10, 10 * 3), (0, 0)])
async def test_a_correction_pays_the_tiers_in_which_the_estimate_stood(meter, make_usage, tokens, cost):
    """So one that changes nothing costs nothing, whatever was used meanwhile; the month counts what was used."""
    tiered = {"model": "tiered", "reservation_id": ""}
    await meter.use(estimate(make_usage, tokens=30, **tiered))
    await meter.use(make_usage(2, quantities={"input_tokens": 40}, **tiered))
    before = (await meter.account()).spent_picos

    assert await meter.use(known(make_usage, tokens=tokens, **tiered)) == cost * MICRO
    assert (await meter.account()).spent_picos == before - 85 * MICRO + cost * MICRO
    # The next one begins where the month is by now: at 40 and what the attempt used indeed.
    price = sum((2 if number <= 70 else 1) * MICRO for number in range(41 + tokens, 51 + tokens))
    assert await meter.use(make_usage(3, quantities={"input_tokens": 10}, **tiered)) == price


async def test_what_was_used_takes_the_place_of_the_first_of_several_estimates(meter, make_usage):
    """As one attempt it stands where the first of them began."""
    tiered = {"model": "tiered", "reservation_id": ""}
    await meter.use(estimate(make_usage, tokens=10, **tiered))
    await meter.use(make_usage(1, usage_id="a-later-guess", estimated=True, quantities={"input_tokens": 20}, **tiered))

    assert await meter.use(known(make_usage, tokens=30, **tiered)) == (25 * 3 + 5 * 2) * MICRO
    assert (await meter.account()).spent_picos == (25 * 3 + 5 * 2) * MICRO


def told_of(choose, make_usage, length):
    """Return usages of attempts of both tenants, guessed, corrected or told, several an attempt; and what counts."""
    usages, sums = [], defaultdict(dict)
    for number in range(length):
        attempt, tokens = choose(range(4)), choose(range(30))
        status, estimated = choose((("failed", True), ("unknown", False), ("corrected", False), ("completed", False)))
        began = make_usage().started_at.replace(month=choose((10, 11)))
        fields = {"tenant": TENANTS[attempt % 2], "status": status, "started_at": began}
        used = {"input_tokens": tokens}
        one = make_usage(attempt, usage_id=f"u{number}", estimated=estimated, quantities=used, **fields)
        usages.append((one.usage_id, one))
        sums[attempt][one.certainty] = sums[attempt].get(one.certainty, 0) + tokens
    counts = {attempt: by_certainty[max(by_certainty)] for attempt, by_certainty in sums.items()}
    return usages, [sum(tokens for attempt, tokens in counts.items() if attempt % 2 == at) * MICRO for at in range(2)]


async def spent(meter):
    """Return what each tenant has spent, by its balance, and by the rows of the ledger."""
    months = ("2026-10", "2026-11")
    balances = [sum([(await meter.account(tenant, month)).spent_picos for month in months]) for tenant in TENANTS]
    rows = [sum(each.cost_picos for each in (await meter.report(tenant=tenant)).sums) for tenant in TENANTS]
    assert balances == rows
    return balances


@settings(max_examples=80)
@given(data=st.data())
def test_any_order_cut_and_repetition_leaves_what_was_used(make_meter, make_usage, data):
    """Estimates count where nothing is known, known usages add up, whatever comes first and in whatever parts."""
    told, expected = told_of(lambda these: data.draw(st.sampled_from(these)), make_usage, data.draw(st.integers(1, 12)))
    again = data.draw(st.lists(st.sampled_from(told), max_size=6))
    told = data.draw(st.permutations([*told, *again]))
    cuts = sorted({0, len(told), *data.draw(st.lists(st.integers(0, len(told)), max_size=4))})

    async def book():
        meter = make_meter(MemoryLedger(), acme=None, globex=None)
        for begin, end in pairwise(cuts):
            await meter.book(told[begin:end])
        return await spent(meter)

    assert asyncio.run(book()) == expected


@pytest.mark.parametrize("seed", range(2))
async def test_replicas_leave_what_was_used_too(open_sql, make_meter, make_usage, patiently, seed):
    """By events in parts and by calls, each usage twice, on three replicas at once; and the rows add up to it."""
    chance = random.Random(seed)
    replicas = [make_meter(await open_sql(), acme=None, globex=None) for _ in range(3)]
    told, expected = told_of(chance.choice, make_usage, 20)
    told *= 2
    chance.shuffle(told)

    async def book(at, part):
        meter = replicas[at % 3]
        if at % 2:
            await patiently(lambda: meter.book(part))
        else:
            await asyncio.gather(*(patiently(partial(meter.settle, one)) for _, one in part))

    await asyncio.gather(*(book(at, told[begin : begin + 6]) for at, begin in enumerate(range(0, len(told), 6))))
    assert await spent(replicas[0]) == expected
    rows = await replicas[1].ledger.told("cost")
    assert len({id_ for id_, _ in rows}) == len(rows)
    for tenant, picos in zip(TENANTS, expected, strict=True):
        assert sum(Decimal(row["BilledCost"]) for _, row in rows if row["SubAccountId"] == tenant) == Decimal(
            picos
        ).scaleb(-12)
