"""The ledger books every usage once and holds budget until a fact ends it, on every implementation of its port."""

import asyncio
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from headrace_errors import InvalidMessage, QuotaExceeded, Refused
from headrace_meter.handlers import RequestOver
from headrace_meter.prices import ModelUnpriced

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


async def test_a_failed_attempt_stands_in_the_ledger(meter, make_usage):
    """No tokens, one row: quantity 0 on the meter `requests`."""
    await meter.use(make_usage(status="failed", quantities={}))

    assert (await meter.ledger.published())[0] == [("u1", "requests")]
    assert [(one.meter, one.quantity, one.cost_picos) for one in (await meter.report()).sums] == [("requests", 0, 0)]


async def test_a_reservation_is_idempotent_by_id_and_tenant(meter):
    """Asking again holds nothing more; another tenant's reservation of the same id is another one."""
    assert await meter.reserve() == await meter.reserve() == 100 * 10**6
    await meter.reserve(tenant="globex")

    assert (await meter.account()).reserved_picos == 100 * 10**6
    assert (await meter.account("globex")).reserved_picos == 100 * 10**6


async def test_usage_settles_its_reservation(meter, make_usage):
    """What was held is given back, what was used is spent."""
    await meter.reserve()
    await meter.use(make_usage())

    account = await meter.account()
    assert (account.reserved_picos, account.spent_picos) == (0, COST)


async def test_a_released_reservation_is_given_back_once(meter):
    """Releasing twice, or what is not there, is a no-op."""
    await meter.reserve()
    await meter.release()
    await meter.release()
    await meter.release("none")

    assert (await meter.account()).reserved_picos == 0


async def test_a_late_usage_of_a_released_reservation_is_spent(meter, make_usage):
    """It ran, so it is billed; nothing is given back a second time."""
    await meter.reserve()
    await meter.release()
    await meter.use(make_usage())

    account = await meter.account()
    assert (account.reserved_picos, account.spent_picos) == (0, COST)


async def test_an_unknown_attempt_stays_held_until_its_correction(meter, make_usage):
    """Nobody knows what it used: the budget stays back until a later usage of the attempt tells."""
    await meter.reserve()
    await meter.use(make_usage(status="unknown", quantities={}))
    await meter.close(attempts=1)
    assert (await meter.account()).reserved_picos == 100 * 10**6
    assert (await meter.report(request_id="r1")).progress.settled

    await meter.use(make_usage(2, attempt_id="a1", reservation_id="a1"))
    account = await meter.account()
    assert (account.reserved_picos, account.spent_picos) == (0, COST)


async def test_a_spent_budget_refuses(meter, make_usage):
    """Held and spent count alike; the refusal holds nothing."""
    await meter.reserve(tokens=900)
    with pytest.raises(QuotaExceeded) as refused:
        await meter.reserve("a2", tokens=101)
    assert refused.value.reason == "budget_exceeded"

    assert (await meter.account()).reserved_picos == 900 * 10**6
    assert await meter.reserve("a3", tokens=100)


async def test_many_at_once_never_pass_the_limit(meter):
    """Of 64 concurrent reservations, as many hold as the budget allows, and no one more."""
    results = await asyncio.gather(
        *(meter.reserve(f"a{number}", request=f"r{number}", tokens=30) for number in range(64)), return_exceptions=True
    )

    held = [result for result in results if not isinstance(result, BaseException)]
    assert len(held) == 33
    assert all(isinstance(result, QuotaExceeded) for result in results if isinstance(result, BaseException))
    assert (await meter.account()).reserved_picos == 33 * 30 * 10**6


async def test_an_unpriced_model_is_refused_before_it_runs(meter):
    """Admission fails closed: nothing is held, nothing costs 0."""
    with pytest.raises(ModelUnpriced):
        await meter.reserve(model="new")
    with pytest.raises(ModelUnpriced):
        await meter.reserve(model="e")  # priced, but not for this meter

    assert (await meter.account()).reserved_picos == 0


async def test_an_undeclared_tenant_holds_nothing(meter):
    """Its usage, should some come, is booked all the same."""
    with pytest.raises(Refused) as refused:
        await meter.reserve(tenant="nobody")
    assert refused.value.reason == "unknown_tenant"


async def test_thresholds_are_announced_once(meter, make_usage):
    """At 50, 80 and 100 percent of the month, by what is held and spent."""
    await meter.reserve("a1", tokens=600)
    await meter.release("a1")
    await meter.reserve("a2", tokens=600)
    await meter.use(make_usage(3, quantities={"input_tokens": 500}))

    assert (await meter.ledger.published())[1] == [50, 80, 100]


async def test_an_outcome_gives_back_what_never_started(meter, make_usage):
    """One of two reserved attempts ran; the outcome counts one."""
    await meter.reserve("a1")
    await meter.reserve("a2")
    await meter.use(make_usage(1))
    await meter.close(attempts=1)

    assert (await meter.account()).reserved_picos == 0
    assert (await meter.report(request_id="r1")).progress.settled


async def test_an_outcome_before_its_usage_waits_for_it(meter, make_usage):
    """Topics race: what the outcome counts stays held until its usage is booked."""
    await meter.reserve("a1")
    await meter.reserve("a2")
    await meter.close(attempts=1)
    assert (await meter.account()).reserved_picos == 200 * 10**6
    assert not (await meter.report(request_id="r1")).progress.settled

    await meter.use(make_usage(1))
    assert (await meter.account()).reserved_picos == 0
    assert (await meter.report(request_id="r1")).progress.settled


async def test_embedding_counts_towards_settlement(meter, make_usage):
    """A request is not settled while the embedding of its question is not booked."""
    await meter.close(attempts=0, embedding_tokens=7)
    assert not (await meter.report(request_id="r1")).progress.settled

    embedding = {"operation": "embed", "model": "e", "quantities": {"embedding_tokens": 7}, "reservation_id": ""}
    await meter.use(make_usage(**embedding))
    assert (await meter.report(request_id="r1")).progress.settled


async def test_nothing_is_held_for_a_request_that_is_over(meter):
    """A reservation that comes after the outcome would leak, so it is refused."""
    await meter.close(attempts=0)

    with pytest.raises(RequestOver):
        await meter.reserve()


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
        async with meter.ledger.transaction(None) as ledger:
            await ledger.add_usage(make_usage())
            await ledger.save_account(replace(await ledger.account("acme", "2026-11"), spent_picos=1), None, ())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()

    assert (await meter.account()).spent_picos == 0
    assert await meter.use(make_usage()) == COST


async def test_sums_are_grouped_and_filtered(meter, make_usage):
    """By any of the six groups, within a time, and never over meters."""
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
    meter.budgets.limits["acme"] = None
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
