"""A hard budget is never overspent and never eaten by holds that leak, however many spend at once."""

import asyncio
import random

import pytest
from headrace_errors import QuotaExceeded
from headrace_meter.adapters.memory import MemoryLedger
from hypothesis import given, settings
from hypothesis import strategies as st

SPENDERS = 64
LIMIT = 1_000 * 10**6  # a thousand input tokens


async def spend(meter, make_usage, spender, *, attempts, chance):
    """Reserve, run, tell: each attempt is used up in part, given back, or ends its request; return what was spent."""
    spent = 0
    for attempt in range(attempts):
        name, tokens = f"{spender}-{attempt}", chance.randrange(1, 40)
        try:
            await meter.reserve(name, request=name, tokens=tokens)
        except QuotaExceeded:
            continue
        end = chance.choice(("usage event", "settled", "given back", "never started"))
        used = chance.randrange(tokens + 1)
        ran = make_usage(
            usage_id=name, attempt_id=name, reservation_id=name, request_id=name, quantities={"input_tokens": used}
        )
        if end in ("usage event", "settled"):
            spent += await (meter.use(ran) if end == "usage event" else meter.settle(ran))
        elif end == "given back":
            await meter.release(name)
        else:
            await meter.close(name, attempts=0)
    return spent


async def test_many_spenders_on_two_replicas_never_pass_a_hard_budget(open_sql, make_meter, make_usage):
    """64 at once on one budget: at no time more than the limit is held and spent, and in the end nothing is held."""
    replicas = [make_meter(await open_sql(), acme=LIMIT) for _ in range(2)]
    seen, done = [], asyncio.Event()

    async def watch() -> None:
        while not done.is_set():
            seen.append((await replicas[0].account()).committed_picos)

    watching = asyncio.create_task(watch())
    spent = await asyncio.gather(
        *(spend(replicas[one % 2], make_usage, one, attempts=4, chance=random.Random(one)) for one in range(SPENDERS))
    )
    done.set()
    await watching

    account = await replicas[1].account()
    assert max(seen) <= LIMIT
    assert (account.reserved_picos, account.spent_picos) == (0, sum(spent))
    assert 0 < account.spent_picos <= LIMIT


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), spenders=st.integers(1, 24), attempts=st.integers(1, 4))
def test_no_interleaving_overspends_or_leaks(make_meter, make_usage, seed, spenders, attempts):
    """Any number of spenders, any course of their attempts: within the limit, and nothing held in the end."""

    async def run():
        meter, chance = make_meter(MemoryLedger(), acme=LIMIT // 4), random.Random(seed)
        spending = [spend(meter, make_usage, one, attempts=attempts, chance=chance) for one in range(spenders)]
        return sum(await asyncio.gather(*spending)), await meter.account()

    spent, account = asyncio.run(run())
    assert account.spent_picos == spent <= LIMIT // 4
    assert account.reserved_picos == 0


async def test_a_refusal_is_the_one_callers_own(meter):
    """Of callers that share a transaction the one that asks too much is refused, the others hold."""
    asked = [100, 2_000, 300]
    answers = await asyncio.gather(
        *(meter.reserve(f"a{tokens}", request=f"r{tokens}", tokens=tokens) for tokens in asked), return_exceptions=True
    )

    assert [answers[0], answers[2]] == [100 * 10**6, 300 * 10**6]
    assert isinstance(answers[1], QuotaExceeded)
    assert (await meter.account()).reserved_picos == 400 * 10**6


async def test_what_no_column_takes_refuses_its_own_caller_only(open_sql, make_meter):
    """A name that the database cannot store fails the transaction; the others are held all the same."""
    meter = make_meter(await open_sql())
    names = ["a1", "\ud800", "a3"]
    answers = await asyncio.gather(*(meter.reserve(name, request=name) for name in names), return_exceptions=True)

    assert [answers[0], answers[2]] == [100 * 10**6, 100 * 10**6]
    assert isinstance(answers[1], Exception)
    with pytest.raises(type(answers[1])):
        await meter.reserve(names[1])
