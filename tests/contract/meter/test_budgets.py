"""Budgets by scope and period, on every implementation of the ledger's port."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from headrace_errors import InvalidMessage, QuotaExceeded
from headrace_meter.budgets import Budget

TODAY, THIS_MONTH = "2026-11-21", "2026-11"
TOKEN = 10**6  # what an input token costs, in picos
CHAT = "month feature=chat"


def budget(period, tokens, **fields) -> Budget:
    """Make a budget of acme, in what so many input tokens cost."""
    return Budget(tenant="acme", period=period, amount_picos=tokens * TOKEN, **fields)


def ran(make_usage, number, tokens, **fields):
    """Make a usage of so many input tokens."""
    return make_usage(number, quantities={"input_tokens": tokens}, **fields)


async def held_and_spent(meter, name, *, period=THIS_MONTH, subject="", tenant="acme") -> tuple[int, int]:
    """Return what an account holds and what was spent on it, in tokens."""
    account = await meter.account(tenant, period, "" if name == "month" else name, subject)
    return account.reserved_picos // TOKEN, account.spent_picos // TOKEN


async def test_every_budget_that_matches_holds_and_spends(meter, make_usage):
    """And no other: by feature, endpoint, model and principal together, for the day, the month and for ever."""
    all_ = "lifetime feature=chat endpoint=generate model=m principal=alice"
    await meter.declare(
        budget("month", 1000),
        budget("day", 1000),
        budget("month", 1000, feature="chat"),
        budget("lifetime", 1000, feature="chat", endpoint="generate", model="m", principal="alice"),
        budget("month", 1000, feature="search"),
        budget("day", 1000, endpoint="embed"),
    )
    accounts = [("month", THIS_MONTH), ("day", TODAY), (CHAT, THIS_MONTH), (all_, "lifetime")]
    others = [("month feature=search", THIS_MONTH), ("day endpoint=embed", TODAY)]

    await meter.reserve("a1", feature="chat", principal="alice")
    assert [await held_and_spent(meter, name, period=period) for name, period in accounts] == [(100, 0)] * 4
    await meter.use(ran(make_usage, 1, 30, feature="chat", principal="alice"))
    assert [await held_and_spent(meter, name, period=period) for name, period in accounts] == [(0, 30)] * 4
    await meter.reserve("a2", feature="chat", principal="alice")
    await meter.release("a2")
    await meter.reserve("a3", feature="chat", principal="alice", request="r3")
    await meter.close("r3", attempts=0)
    assert [await held_and_spent(meter, name, period=period) for name, period in accounts] == [(0, 30)] * 4
    assert [await held_and_spent(meter, name, period=period) for name, period in others] == [(0, 0)] * 2


async def test_one_hard_budget_that_is_spent_refuses_and_changes_none(meter):
    """The refusal names it; of a soft one that is spent nobody is refused."""
    small = budget("day", 150, feature="chat")
    await meter.declare(budget("month", 1000), small, budget("lifetime", 10, model="m", hard=False))
    await meter.reserve("a1", feature="chat")

    with pytest.raises(QuotaExceeded, match="'day feature=chat' of acme for 2026-11-21") as refused:
        await meter.reserve("a2", feature="chat")

    assert refused.value.reason == "budget_exceeded"
    assert await held_and_spent(meter, "month") == (100, 0)
    assert await held_and_spent(meter, small.name, period=TODAY) == (100, 0)
    assert await held_and_spent(meter, "lifetime model=m", period="lifetime") == (100, 0)
    await meter.reserve("a2", feature="search")


async def test_each_value_has_a_budget_by_itself(meter):
    """`*` is everybody's own: one principal's spending leaves the others theirs."""
    await meter.declare(budget("day", 150, principal="*"))
    await meter.reserve("a1", principal="alice")
    await meter.reserve("a2", principal="bob")
    with pytest.raises(QuotaExceeded, match="principal=alice"):
        await meter.reserve("a3", principal="alice")
    await meter.reserve("a4")  # nobody is known to ask
    await meter.reserve("a5")

    (alice, bob) = sorted((await meter.standings())["day principal=*"], key=lambda one: one.subject)
    assert (alice.subject, bob.subject) == ("principal=alice", "principal=bob")
    assert len((await meter.standings(accounts_max=1))["day principal=*"]) == 1


async def test_an_attempt_counts_in_the_period_in_which_it_began(meter, make_usage):
    """Held where it will be spent, although the reservation comes a second after midnight."""
    await meter.declare(budget("day", 100))
    meter.clock = lambda: datetime(2026, 11, 22, 0, 0, 1, tzinfo=UTC)
    before = datetime(2026, 11, 21, 23, 59, 59, tzinfo=UTC)
    # Declared on the 21st: what is of that day is counted.
    await meter.reserve("a1", started_at=before)
    assert await held_and_spent(meter, "day", period=TODAY) == (100, 0)
    await meter.reserve("a2")
    assert await held_and_spent(meter, "day", period="2026-11-22") == (100, 0)
    await meter.use(ran(make_usage, 1, 90, started_at=before))
    assert await held_and_spent(meter, "day", period=TODAY) == (0, 90)

    with pytest.raises(InvalidMessage, match="started_at"):
        await meter.reserve("a3", started_at=before - timedelta(days=1))


async def test_each_budget_tells_its_own_thresholds_once_a_period(meter, make_usage):
    """Held and spent together; again in the next period, and never twice in one."""
    daily = budget("day", 100, feature="chat", thresholds_percent=(10, 90))
    soft = budget("month", 50, principal="*", hard=False)
    await meter.declare(daily, soft)
    for number in (1, 2):
        await meter.reserve(f"a{number}", tokens=45, feature="chat", principal="alice")
        await meter.use(ran(make_usage, number, 45, feature="chat", principal="alice"))
    tomorrow = datetime(2026, 11, 22, 12, tzinfo=UTC)
    await meter.use(ran(make_usage, 3, 20, feature="chat", started_at=tomorrow))

    each = (soft.name, "principal=alice", THIS_MONTH)
    assert sorted(await meter.ledger.crossings()) == sorted(
        [
            (daily.name, "", TODAY, 10),
            (daily.name, "", TODAY, 90),
            (daily.name, "", "2026-11-22", 10),
            *((*each, percent) for percent in (50, 80, 100)),
        ]
    )


async def test_a_budget_that_is_declared_later_counts_what_was_spent_in_its_period(meter, make_usage):
    """Of this month, this day, or ever; what is held at that moment joins it as it is spent."""
    last_month = datetime(2026, 10, 31, tzinfo=UTC)
    await meter.declare()
    await meter.use(ran(make_usage, 1, 20, feature="chat"))
    await meter.use(ran(make_usage, 2, 30, feature="chat", started_at=last_month))
    await meter.reserve("a3", tokens=40, feature="chat")

    await meter.declare(budget("month", 1000, feature="chat"), budget("lifetime", 1000, feature="chat"))

    assert await held_and_spent(meter, CHAT) == (0, 20)
    assert await held_and_spent(meter, "lifetime feature=chat", period="lifetime") == (0, 50)
    await meter.use(ran(make_usage, 3, 40, feature="chat"))
    await meter.use(ran(make_usage, 4, 1, feature="chat", started_at=last_month))  # late
    assert await held_and_spent(meter, CHAT) == (0, 60)
    assert await held_and_spent(meter, CHAT, period="2026-10") == (0, 0), "it was not declared then"
    assert await held_and_spent(meter, "lifetime feature=chat", period="lifetime") == (0, 91)


async def test_a_budget_goes_on_under_other_terms_and_after_a_pause(meter, make_usage):
    """Another amount is the same account; declared again, it has what was spent meanwhile, and holds what it held."""
    chat = budget("month", 100, feature="chat")
    await meter.declare(chat)
    await meter.reserve("a1", tokens=60, feature="chat")
    await meter.use(ran(make_usage, 2, 10, feature="chat"))
    await meter.declare(replace(chat, amount_picos=200 * TOKEN))
    assert await held_and_spent(meter, CHAT) == (60, 10)
    await meter.reserve("a3", tokens=130, feature="chat")

    await meter.declare()
    await meter.use(ran(make_usage, 4, 7, feature="chat"))
    await meter.release("a3")
    await meter.reserve("a5", tokens=1000, feature="chat")
    await meter.declare(chat)
    assert await held_and_spent(meter, CHAT) == (60, 17)
    await meter.use(ran(make_usage, 1, 50, feature="chat"))
    assert await held_and_spent(meter, CHAT) == (0, 67)
    assert len(await meter.ledger.crossings()) == len(set(await meter.ledger.crossings()))


async def test_what_is_used_otherwise_than_reserved_leaves_no_hold_behind(meter, make_usage):
    """A hold ends where it was made, and spending counts where it belongs."""
    await meter.declare(budget("month", 1000, feature="chat"), budget("month", 1000, feature="search"))
    await meter.reserve("a1", feature="chat")
    await meter.use(ran(make_usage, 1, 30, feature="search"))

    assert await held_and_spent(meter, CHAT) == (0, 0)
    assert await held_and_spent(meter, "month feature=search") == (0, 30)


async def test_a_reservation_that_is_taken_up_again_is_held_where_it_is_now(meter):
    """Given back and reserved again under its id, for another feature."""
    await meter.declare(budget("month", 1000, feature="chat"), budget("month", 1000, feature="search"))
    await meter.reserve("a1", feature="chat")
    await meter.release("a1")
    await meter.reserve("a1", feature="search")
    assert await held_and_spent(meter, CHAT) == (0, 0)
    assert await held_and_spent(meter, "month feature=search") == (100, 0)


async def test_what_became_unknown_stays_held_on_every_account(meter, make_usage):
    """Until a later usage of it says more."""
    await meter.declare(budget("day", 1000, principal="*"))
    unknown = make_usage(1, status="unknown", quantities={}, principal="alice")
    await meter.reserve("a1", principal="alice")
    await meter.use(unknown)
    place = {"period": TODAY, "subject": "principal=alice"}
    assert await held_and_spent(meter, "day principal=*", **place) == (100, 0)
    await meter.use(ran(make_usage, 2, 5, reservation_id="a1", principal="alice"))
    assert await held_and_spent(meter, "day principal=*", **place) == (0, 5)


async def test_budgets_stand_as_their_accounts_do(meter, make_usage):
    """By name, in their current periods; one on which nothing counted has an empty account."""
    await meter.declare(budget("month", 100), budget("day", 50, feature="chat"), budget("day", 5, principal="*"))
    await meter.reserve("a1", tokens=20, feature="chat")
    await meter.use(ran(make_usage, 2, 10))

    found = await meter.standings()
    assert list(found) == ["day feature=chat", "day principal=*", "month"]
    (chat,), (nobody,), (month,) = found.values()
    assert (chat.period, chat.reserved_picos, chat.spent_picos) == (TODAY, 20 * TOKEN, 0)
    assert (month.period, month.reserved_picos, month.spent_picos) == (THIS_MONTH, 20 * TOKEN, 10 * TOKEN)
    assert (nobody.period, nobody.subject, nobody.committed_picos) == (TODAY, "", 0)
    assert await meter.standings(tenant="globex") == {}


async def changes_told(replica):
    """Return what audit is told of budgets, in order."""
    told = [record for _, record in await replica.ledger.audited("budget.changed")]
    return [(one.tenant, one.facts["budget"], one.facts["amount_before"], one.facts["amount"]) for one in told]


async def test_audit_is_told_of_each_budget_that_takes_effect_changes_or_goes(open_sql, make_meter, noon):
    """Where it takes effect, and with it or not at all: once a change, whichever replica declares it how often."""
    replicas = [make_meter(await open_sql()) for _ in range(2)]
    whole, daily = budget("month", 10**6), budget("day", 2 * 10**6, feature="chat")
    softer = replace(daily, hard=False, thresholds_percent=(90,))
    for number, budgets in enumerate(((whole,), (whole, daily), (whole, softer), (softer,), (softer,))):
        for replica in replicas:
            replica.clock = lambda number=number: noon + timedelta(seconds=number)
            await replica.declare(*budgets)

    assert await changes_told(replicas[0]) == [
        ("acme", "month", "none", "1 USD"),
        ("acme", "day feature=chat", "none", "2 USD"),
        ("acme", "day feature=chat", "2 USD", "2 USD soft at 90%"),
        ("acme", "month", "1 USD", "none"),
    ]
    told = await replicas[0].ledger.audited("budget.changed")
    assert len({id_ for id_, _ in told}) == len(told)
    assert {record.service for _, record in told} == {"meter"}


async def test_a_budget_is_told_however_long_its_name(open_sql, make_meter):
    """Values have up to a hundred characters each, and the name has all of them."""
    meter = make_meter(await open_sql())
    long = budget("day", 10**6, **dict.fromkeys(("feature", "model", "principal"), "x y" * 33))
    await meter.declare(long)

    assert await changes_told(meter) == [("acme", long.name, "none", "1 USD")]


async def test_replicas_go_by_what_was_declared_last(open_sql, make_meter):
    """One that started with another file counts the same budgets from the next transaction on."""
    old, new = make_meter(await open_sql()), make_meter(await open_sql())
    await old.declare()
    await old.reserve("a1", feature="chat")
    await new.declare(budget("month", 150, feature="chat"))
    await old.reserve("a2", feature="chat")
    with pytest.raises(QuotaExceeded, match=CHAT):
        await old.reserve("a3", feature="chat")
    assert await held_and_spent(new, CHAT) == (100, 0), "what was held before it was declared is not counted"


async def test_replicas_that_start_at_once_declare_the_same(open_sql, make_meter, make_usage):
    """Each opens no account a second time."""
    replicas = [make_meter(await open_sql()) for _ in range(3)]
    await replicas[0].use(ran(make_usage, 1, 20, feature="chat"))
    await asyncio.gather(*(one.declare(budget("month", 150, feature="chat")) for one in replicas))
    assert await held_and_spent(replicas[2], CHAT) == (0, 20)
