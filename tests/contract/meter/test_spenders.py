"""A hard budget is never overspent and never eaten by holds that leak, however many spend at once."""

import asyncio
import random
from contextlib import asynccontextmanager

import pytest
from headrace_errors import QuotaExceeded
from headrace_meter.accounts import Account, spent_on
from headrace_meter.adapters.memory import MemoryLedger
from headrace_meter.budgets import AccountKey, Budget
from hypothesis import given, settings
from hypothesis import strategies as st

SPENDERS = 64
LIMIT = 1_000 * 10**6  # a thousand input tokens


NOBODY = {"feature": "", "principal": ""}


async def spend(meter, make_usage, spender, *, attempts, chance, purposes=(NOBODY,)):
    """Reserve, run, tell: each attempt is used up in part, given back, or ends its request; return what was spent."""
    spent = 0
    for attempt in range(attempts):
        name, tokens, purpose = f"{spender}-{attempt}", chance.randrange(1, 40), chance.choice(purposes)
        try:
            await meter.reserve(name, request=name, tokens=tokens, **purpose)
        except QuotaExceeded:
            continue
        end = chance.choice(("usage event", "settled", "given back", "never started"))
        used = chance.randrange(tokens + 1)
        names = dict.fromkeys(("usage_id", "attempt_id", "reservation_id", "request_id"), name)
        ran = make_usage(**names, **purpose, quantities={"input_tokens": used})
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


@settings(max_examples=40)
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


hard_budgets = st.builds(
    Budget,
    tenant=st.just("acme"),
    period=st.sampled_from(["day", "month", "lifetime"]),
    amount_picos=st.integers(0, LIMIT // 4),
    feature=st.sampled_from(["", "chat", "search", "*"]),
    principal=st.sampled_from(["", "alice", "*"]),
    model=st.sampled_from(["", "m", "other"]),
)
ASKERS = ("alice", "bob")
PURPOSES = [{"feature": feature, "principal": asker} for feature in ("", "chat", "search") for asker in ASKERS]


@settings(max_examples=60)
@given(
    budgets=st.lists(hard_budgets, max_size=6, unique_by=lambda one: one.name),
    seed=st.integers(0, 2**32),
    spenders=st.integers(1, 16),
    attempts=st.integers(1, 4),
)
def test_no_interleaving_overspends_any_of_many_budgets(make_meter, make_usage, budgets, seed, spenders, attempts):
    """Of any scope and period, at no time: and in the end none holds anything, and each has what it counts."""

    async def run():
        meter, chance = make_meter(Watched(), *budgets, acme=None), random.Random(seed)
        spending = (
            spend(meter, make_usage, one, attempts=attempts, chance=chance, purposes=PURPOSES)
            for one in range(spenders)
        )
        return meter.ledger, sum(await asyncio.gather(*spending))

    ledger, spent = asyncio.run(run())
    assert ledger.overspent == []
    assert {key for key, one in ledger.accounts.items() if one.reserved_picos} == set()
    assert ledger.accounts.get(AccountKey("acme", "2026-11"), NOTHING).spent_picos == spent
    counted = spent_on(budgets, [(usage.purpose, cost) for usage, cost in ledger.booked()])
    assert {key: one.spent_picos for key, one in ledger.accounts.items() if one.spent_picos and key.budget} == {
        key: picos for key, picos in counted.items() if picos and key.budget
    }


NOTHING = Account("acme", "2026-11")


class Watched(MemoryLedger):
    """The ledger in memory, looked at after each transaction."""

    def __init__(self) -> None:
        super().__init__()
        self.overspent: list[Account] = []

    @property
    def accounts(self):
        return self._state.accounts

    def booked(self):
        return [
            (self._state.usages[key], sum(one.cost_picos for one in charges))
            for key, charges in self._state.charges.items()
        ]

    @asynccontextmanager
    async def transaction(self, events=(), tenants=()):
        async with super().transaction(events, tenants) as opened:
            yield opened
        limits = {one.name: one.amount_picos for one in self._state.budgets}
        for account in self._state.accounts.values():
            if account.committed_picos > limits.get(account.budget or "month", LIMIT * 100):
                self.overspent.append(account)


async def test_many_spenders_on_two_replicas_never_pass_any_of_many_budgets(open_sql, make_meter, make_usage):
    """64 at once on two databases' connections, and budgets that cut across each other."""
    budgets = [
        Budget(tenant="acme", period="day", amount_picos=LIMIT // 2, feature="chat"),
        Budget(tenant="acme", period="lifetime", amount_picos=LIMIT // 3, principal="*"),
        Budget(tenant="acme", period="month", amount_picos=LIMIT // 4, feature="*", principal="bob"),
    ]
    replicas = [make_meter(await open_sql(), *budgets, acme=LIMIT) for _ in range(2)]
    await replicas[0].declare(*replicas[0].budgets)
    spending = (
        spend(replicas[one % 2], make_usage, one, attempts=3, chance=random.Random(one), purposes=PURPOSES)
        for one in range(SPENDERS)
    )
    spent = sum(await asyncio.gather(*spending))

    standings = await replicas[1].standings()
    limits = {one.name: one.amount_picos for one in replicas[0].budgets}
    for name, accounts in standings.items():
        for account in accounts:
            assert account.reserved_picos == 0
            assert 0 < account.spent_picos <= limits[name], name
    assert standings["month"][0].spent_picos == spent


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
