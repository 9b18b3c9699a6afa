"""The ledger books every usage once, on every implementation of its port."""

import asyncio
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from headrace_errors import InvalidMessage
from headrace_meter.accounts import Account
from headrace_meter.budgets import AccountKey
from headrace_meter.working_set import Changes

MONTH = AccountKey("acme", "2026-11")
COST = 20 * 10**6  # 10 input tokens at 1 and 5 output tokens at 2 a million


async def test_a_redelivered_usage_is_booked_once(meter, make_usage):
    """The same event again changes nothing: no second charge, no second cost row."""
    for _ in range(3):
        assert await meter.use(make_usage()) == COST

    report = await meter.report()
    assert [(one.meter, one.quantity) for one in report.sums] == [("input_tokens", 10), ("output_tokens", 5)]
    assert report.usages == 1
    assert await meter.ledger.published() == ([("u1", "input_tokens"), ("u1", "output_tokens")], [])


async def test_a_usage_settled_by_call_and_by_event_is_booked_once(meter, make_usage):
    """The call and the event say the same; whichever comes first books, both tell the cost."""
    assert await meter.settle(make_usage()) == COST
    assert await meter.use(make_usage()) == COST
    assert await meter.settle(make_usage()) == COST

    assert (await meter.account()).spent_picos == COST


async def test_a_usage_told_by_another_event_is_booked_once(meter, make_usage):
    """The usage id decides, not the delivery."""
    await meter.use(make_usage())
    await meter.use(make_usage(), event_id="another")

    assert (await meter.account()).spent_picos == COST


@pytest.mark.parametrize("verb", ["use", "settle"])
async def test_a_usage_id_is_the_tenants_own(meter, make_usage, verb):
    """Another tenant's usage of the same id is another one: neither its cost is told, nor is it taken for a repeat."""
    book, theirs = getattr(meter, verb), make_usage(tenant="globex", quantities={"input_tokens": 1})
    assert await book(theirs) == 10**6
    assert await book(make_usage()) == COST
    assert await book(theirs) == 10**6

    assert (await meter.account()).spent_picos == COST
    assert (await meter.account("globex")).spent_picos == 10**6
    assert (await meter.report(tenant="globex")).usages == 1
    assert sum(one.cost_picos for one in (await meter.report()).sums) == COST
    assert len((await meter.ledger.published())[0]) == 3


async def test_the_same_usage_id_of_two_tenants_is_rated_later_for_each(meter, make_usage):
    """Both are kept without a price, and both are booked once there is one."""
    for tenant in ("acme", "globex"):
        await meter.use(make_usage(model="new", tenant=tenant))

    rates = [{"model": "new", "from": "2026-01-01", "per_million": {"input_tokens": "1", "output_tokens": "2"}}]
    assert await meter.rerate(rates) == 2
    assert (await meter.account("globex")).spent_picos == (await meter.account()).spent_picos == COST


async def test_a_failed_attempt_stands_in_the_ledger(meter, make_usage):
    """No tokens, one row: quantity 0 on the meter `requests`."""
    await meter.use(make_usage(status="failed", quantities={}))

    assert (await meter.ledger.published())[0] == [("u1", "requests")]
    assert [(one.meter, one.quantity, one.cost_picos) for one in (await meter.report()).sums] == [("requests", 0, 0)]


async def test_a_usage_without_price_is_kept_and_rated_later(meter, make_usage):
    """It is neither dropped nor counted as 0: an alert now, booked when there is a price, its hold kept until then."""
    await meter.reserve()
    await meter.use(make_usage(model="new"))
    await meter.use(make_usage(model="new"))
    await meter.close(attempts=1)
    assert meter.told.unrated_ids == ["u1"]
    assert (await meter.report()).usages == 0
    assert (await meter.account()).reserved_picos == 100 * 10**6

    assert await meter.rerate([{"model": "other", "from": "2026-01-01", "per_million": {"input_tokens": "1"}}]) == 0
    rates = [{"model": "new", "from": "2026-01-01", "per_million": {"input_tokens": "1", "output_tokens": "2"}}]
    assert await meter.rerate(rates) == 1
    assert await meter.rerate(rates) == 0
    account = await meter.account()
    assert (account.reserved_picos, account.spent_picos) == (0, COST)
    assert (await meter.report(request_id="r1")).progress.settled
    assert len((await meter.ledger.published())[0]) == 2


async def test_a_late_usage_pays_from_its_own_month(meter, make_usage):
    """The month is that of the attempt's start, whenever the event comes."""
    october = datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC)
    await meter.use(make_usage(started_at=october, ended_at=october))

    assert (await meter.account(period="2026-10")).spent_picos == COST
    assert (await meter.account(period="2026-11")).spent_picos == 0


async def test_an_error_leaves_nothing_behind(meter, make_usage):
    """The inbox, the ledger and the outbox change together or not at all."""

    async def fail():
        async with meter.ledger.transaction() as ledger:
            await ledger.keep(Changes(usages=[make_usage()], accounts={MONTH: Account(*MONTH)}))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()

    assert (await meter.account()).spent_picos == 0
    assert await meter.use(make_usage()) == COST


async def test_sums_are_grouped_and_filtered(meter, make_usage):
    """By any of the groups, within a time, and never over meters."""
    await meter.use(make_usage(1, feature="search"))
    await meter.use(
        make_usage(2, feature="chat", request_id="r2", started_at=make_usage().started_at + timedelta(days=1))
    )

    by_feature = await meter.report("feature")
    assert [(one.group, one.meter, one.quantity) for one in by_feature.sums] == [
        (("chat",), "input_tokens", 10),
        (("chat",), "output_tokens", 5),
        (("search",), "input_tokens", 10),
        (("search",), "output_tokens", 5),
    ]
    by_day = await meter.report("day", "meter", since=make_usage().started_at + timedelta(hours=1))
    assert [one.group for one in by_day.sums] == [("2026-11-22", "input_tokens"), ("2026-11-22", "output_tokens")]
    assert (await meter.report("request", before=make_usage().started_at)).sums == []
    with pytest.raises(InvalidMessage):
        await meter.report("colour")


async def test_a_tenant_sees_its_own_usage_only(meter, make_usage):
    """Not even of a request with the same id."""
    await meter.use(make_usage(1))
    await meter.reserve()

    report = await meter.report(tenant="globex", request_id="r1")
    assert (report.sums, report.usages, report.reserved_picos) == ([], 0, 0)


@pytest.mark.parametrize("seed", range(4))
async def test_any_order_and_any_repetition_give_the_same_ledger(meter, make_usage, seed):
    """Deliveries shuffled and repeated, outcomes in between: the sum is that of the distinct facts."""
    rng = random.Random(seed)
    await meter.declare()  # no budget
    facts, expected = [], Counter()
    for number in range(12):
        request = f"r{number // 2}"
        status = rng.choice(["completed", "failed", "cancelled"])
        one = make_usage(number, request_id=request, status=status, quantities={"input_tokens": rng.randrange(50)})
        await meter.reserve(f"a{number}", request=request, tokens=50)
        expected.update(one.quantities)
        facts += [("use", one), ("use", one), ("settle", replace(one))]
    facts += [("close", f"r{number}") for number in range(6)] * 2
    rng.shuffle(facts)
    for verb, fact in facts:
        await (meter.close(fact, attempts=2) if verb == "close" else getattr(meter, verb)(fact))

    account = await meter.account()
    assert (account.reserved_picos, account.spent_picos) == (0, expected["input_tokens"] * 10**6)
    assert sum(one.cost_picos for one in (await meter.report()).sums) == account.spent_picos
    costs, _ = await meter.ledger.published()
    assert len(costs) == len(set(costs)) == 12


async def test_an_amount_beyond_the_columns_is_refused(meter, make_usage):
    """More than the ledger can hold is an error with its reason; it neither wraps nor stays half booked."""
    with pytest.raises(InvalidMessage) as refused:
        await meter.use(make_usage(quantities={"input_tokens": 2**62}))
    assert refused.value.reason == "amount_too_large"

    assert await meter.use(make_usage()) == COST


async def test_a_ledger_has_one_currency(open_sql, make_meter, make_usage):
    """Sums over two currencies would be wrong, so another currency stops the start."""
    ledger = await open_sql()
    await make_meter(ledger).use(make_usage())

    await ledger.check_currency("USD")
    with pytest.raises(ValueError, match="the ledger is in USD, the tenants file in EUR"):
        await ledger.check_currency("EUR")


async def test_replicas_book_each_fact_once_and_no_amount_is_lost(open_sql, make_meter, make_usage):
    """Two tenants' facts on three replicas at once, each fact twice, by event and by call."""
    replicas = [make_meter(await open_sql(), acme=None, globex=None) for _ in range(3)]

    async def book(number: int) -> None:
        one = make_usage(number // 4, tenant=("acme", "globex")[number // 4 % 2])
        meter = replicas[number % 3]
        await (meter.settle(one) if number % 2 else meter.use(one))

    await asyncio.gather(*map(book, range(96)))
    for tenant in ("acme", "globex"):
        account = await replicas[0].account(tenant)
        assert account.spent_picos == 12 * COST
        assert (await replicas[1].report(tenant=tenant)).usages == 12
    costs, _ = await replicas[2].ledger.published()
    assert len(costs) == 2 * len({usage_id for usage_id, _ in costs}) == 48
