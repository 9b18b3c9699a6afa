"""Facts that are booked together give the ledger that they give one by one, on every implementation of its port."""

import asyncio
import random
from itertools import pairwise, product

import pytest
from headrace_errors import InvalidMessage
from headrace_meter.adapters.memory import MemoryLedger
from headrace_meter.budgets import Budget
from headrace_meter.domain import Usage
from headrace_meter.facts import Close
from hypothesis import given, settings
from hypothesis import strategies as st

COST = 20 * 10**6  # 10 input tokens at 1 and 5 output tokens at 2 a million
TENANTS = ("acme", "globex")
LIMITS = {"acme": 3 * 10**8, "globex": None}
BUDGETS = [
    Budget(tenant=tenant, period=period, amount_picos=10**8, **scope)
    for tenant in TENANTS
    for period, scope in (("day", {"feature": "chat"}), ("lifetime", {"principal": "*"}), ("month", {"model": "new"}))
]
RATE = {"model": "new", "from": "2026-01-01", "per_million": {"input_tokens": "1", "output_tokens": "2"}}


class Memory(MemoryLedger):
    """The ledger in memory, and what it announced."""

    async def published(self):
        return [(one.usage_id, one.meter) for one in self.costs], [percent for _, percent in self.crossed]

    async def crossings(self):
        return [(key.budget or "month", key.subject, key.period, percent) for key, percent in self.crossed]


def stream(choose, make_usage, noon, length):
    """Return deliveries of both tenants: usages of all kinds and outcomes, some again, under their events' ids."""
    deliveries: list[tuple[str, Usage | Close]] = []
    for number in range(length):
        tenant, request = choose(TENANTS), f"r{number % 4}"
        kind = choose(("answer", "answer", "tiered", "embed", "unpriced", "outcome", "again", "told by another"))
        if kind in ("again", "told by another") and deliveries:
            id_, fact = choose(deliveries)
            deliveries.append((id_ if kind == "again" else f"{id_}-{number}", fact))
        elif kind == "outcome":
            counts = {"attempts": choose((0, 1, 3)), "embedding_tokens": choose((0, 7))}
            outcome = Close(tenant=tenant, request_id=request, at=noon, **counts)
            deliveries.append((f"outcome-{tenant}-{number}", outcome))
        else:
            embed = {"operation": "embed", "model": "e", "quantities": {"embedding_tokens": 7}, "reservation_id": ""}
            tiered = {"model": "tiered", "quantities": {"input_tokens": choose((0, 10, 45)), "output_tokens": 5}}
            fields = {"embed": embed, "unpriced": {"model": "new"}, "tiered": tiered}.get(kind, {})
            fields |= {"feature": choose(("", "chat", "search")), "principal": choose(("", "alice", "bob"))}
            status = choose(("completed", "failed", "unknown"))
            used = make_usage(number, tenant=tenant, request_id=request, **{"status": status} | fields)
            deliveries.append((used.usage_id, used))
    return deliveries


async def books_of(meter, deliveries, cuts):
    """Hold budget, book a stream cut in parts, rate what had no price; return all that the ledger tells after it."""
    for tenant in TENANTS:
        for number in range(0, 24, 3):
            feature = ("chat", "search")[number % 2]
            await meter.reserve(f"a{number}", tenant=tenant, request=f"r{number % 4}", tokens=10, feature=feature)
    edges = [0, *sorted(set(cuts)), len(deliveries)]
    for begin, end in pairwise(edges):
        if begin < end:
            await meter.book(deliveries[begin:end])
    await meter.rerate([RATE])
    asked = [(tenant, f"r{number}") for tenant in TENANTS for number in range(4)]
    return {
        "published": await meter.ledger.published(),
        "accounts": [await meter.account(tenant) for tenant in TENANTS],
        "budgets": [await meter.standings(tenant) for tenant in TENANTS],
        "crossings": await meter.ledger.crossings(),
        "sums": [(await meter.report("request", tenant=tenant)).sums for tenant in TENANTS],
        "progress": [(await meter.report(tenant=tenant, request_id=request)).progress for tenant, request in asked],
        "unrated": meter.told.unrated_ids,
        "rated": meter.told.rated_picos,
    }


@settings(max_examples=60)
@given(data=st.data())
def test_any_split_of_a_stream_gives_the_same_books(make_meter, make_usage, noon, data):
    """Usages, outcomes and redeliveries in parts of any size: ledger, cost rows and balances are those of one by one.

    Thresholds are crossed by the same facts, and what is told of usages without a price is the same too.
    """
    length = data.draw(st.integers(1, 24))
    deliveries = stream(lambda these: data.draw(st.sampled_from(these)), make_usage, noon, length)
    cuts = data.draw(st.lists(st.integers(0, length), max_size=5))

    alone = asyncio.run(books_of(make_meter(Memory(), *BUDGETS, **LIMITS), deliveries, range(length)))
    assert asyncio.run(books_of(make_meter(Memory(), *BUDGETS, **LIMITS), deliveries, cuts)) == alone


@pytest.mark.parametrize("seed", range(3))
async def test_every_database_keeps_what_memory_keeps(open_sql, make_meter, make_usage, noon, seed):
    """The same parts on SQL as one by one in memory."""
    chance = random.Random(seed)
    deliveries = stream(chance.choice, make_usage, noon, 40)
    cuts = chance.sample(range(40), 4)

    alone = await books_of(make_meter(Memory(), *BUDGETS, **LIMITS), deliveries, range(40))
    assert await books_of(make_meter(await open_sql(), *BUDGETS, **LIMITS), deliveries, cuts) == alone


async def test_a_delivery_that_comes_twice_in_one_part_is_booked_once(meter, make_usage):
    """Whether the repeat comes under its own id or under another."""
    told = [("u1", make_usage(1)), ("u1", make_usage(1)), ("other", make_usage(1)), ("u2", make_usage(2))]
    await meter.book(told)

    assert (await meter.account()).spent_picos == 2 * COST
    assert [usage_id for usage_id, _ in (await meter.ledger.published())[0]] == ["u1", "u1", "u2", "u2"]


async def test_one_that_cannot_be_booked_leaves_nothing_of_the_others(meter, make_usage):
    """All or none: whoever calls takes them one by one then."""
    too_much = make_usage(2, quantities={"input_tokens": 2**62 // 10**6})
    facts = [("u1", make_usage(1)), ("u2", too_much), ("u3", make_usage(3, quantities=too_much.quantities))]
    with pytest.raises(InvalidMessage):
        await meter.book(facts)

    assert (await meter.account()).spent_picos == 0
    assert await meter.book(facts[:1]) == [COST]


async def test_an_outcome_among_usages_gives_back_what_never_started(meter, make_usage, noon):
    """In one transaction with the usage that it counts, whichever comes first in it."""
    for request, late in (("r1", False), ("r2", True)):
        await meter.reserve(f"{request}-ran", request=request)
        await meter.reserve(f"{request}-never", request=request)
        used = make_usage(request_id=request, reservation_id=f"{request}-ran", usage_id=request, attempt_id=request)
        outcome = Close(tenant="acme", request_id=request, attempts=1, embedding_tokens=0, at=noon)
        told = [(request, used), (f"outcome-{request}", outcome)]
        await meter.book(told[::-1] if late else told)

    account = await meter.account()
    assert (account.reserved_picos, account.spent_picos) == (0, 2 * COST)


async def test_replicas_that_book_parts_of_the_same_tenants_never_wait_in_a_circle(open_sql, make_meter, make_usage):
    """Parts of many tenants in opposite orders on two replicas at once: all is booked, none is Unavailable."""
    tenants = [f"t{number}" for number in range(8)]
    replicas = [make_meter(await open_sql(), **dict.fromkeys(tenants)) for _ in range(2)]

    async def book(number: int) -> None:
        used = [make_usage(number, tenant=tenant) for tenant in tenants]
        await replicas[number % 2].book([(one.usage_id, one) for one in (used if number % 4 else used[::-1])])

    await asyncio.gather(*map(book, range(24)))
    for tenant in tenants:
        assert (await replicas[0].account(tenant)).spent_picos == 24 * COST


async def test_many_budgets_for_each_of_many_principals_are_booked_together(meter, make_usage):
    """More accounts than a statement of SQLite takes parameters for: a tenant may have a hundred budgets."""
    scopes = product(("day", "month", "lifetime"), ("", "chat"), ("", "generate", "*"), ("", "m"))
    terms = {"tenant": "acme", "principal": "*", "amount_picos": 10**12}
    made = [
        Budget(period=period, feature=feature, endpoint=endpoint, model=model, **terms)
        for period, feature, endpoint, model in scopes
    ]
    await meter.declare(*made)
    used = [make_usage(number, principal=f"p{number}", feature="chat") for number in range(256)]
    assert len(made) * len(used) * 4 > 32_766

    assert await meter.book([(one.usage_id, one) for one in used]) == [COST] * 256
    account = await meter.account(period="lifetime", budget="lifetime principal=*", subject="principal=p255")
    assert account.spent_picos == COST
