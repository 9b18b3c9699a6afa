"""Budget is held until a fact ends it, on every implementation of the ledger's port."""

import asyncio

import pytest
from headrace_errors import QuotaExceeded, Refused
from headrace_meter.booking import RequestOver
from headrace_meter.prices import ModelUnpriced

COST = 20 * 10**6  # 10 input tokens at 1 and 5 output tokens at 2 a million


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


async def test_an_embedding_that_failed_is_not_the_one_that_the_outcome_counts(meter, make_usage):
    """It was billed, but its vectors were nobody's: the outcome counts the call that came after."""
    embedding = {"operation": "embed", "model": "e", "quantities": {"embedding_tokens": 7}, "reservation_id": ""}
    await meter.use(make_usage(1, status="failed", **embedding))
    await meter.reserve("a1")
    await meter.close(attempts=0, embedding_tokens=7)
    assert not (await meter.report(request_id="r1")).progress.settled
    assert (await meter.account()).reserved_picos > 0

    await meter.use(make_usage(2, **embedding))
    assert (await meter.report(request_id="r1")).progress.settled
    assert (await meter.account()).reserved_picos == 0
    assert (await meter.account()).spent_picos == 14 * 10**6


async def test_nothing_is_held_for_a_request_that_is_over(meter):
    """A reservation that comes after the outcome would leak, so it is refused."""
    await meter.close(attempts=0)

    with pytest.raises(RequestOver):
        await meter.reserve()
