"""Callers who wait at the same time share a transaction, and nothing else."""

import asyncio
import contextvars

import pytest
from headrace_errors import Overloaded, QuotaExceeded, Unavailable
from headrace_meter.facts import GiveBack
from headrace_meter.group_commit import GroupCommit

WHO = contextvars.ContextVar("WHO", default="nobody")


class Books:
    """Books what it is given once it is let; `calls` are the names of the facts of each transaction."""

    def __init__(self, **answers) -> None:
        self.answers = answers
        self.calls, self.contexts = [], []
        self.open = asyncio.Event()

    async def __call__(self, facts):
        self.calls.append([fact.reservation_id for fact in facts])
        self.contexts.append(WHO.get())
        await self.open.wait()
        if (poison := self.answers.get("poison")) and poison in self.calls[-1]:
            raise ValueError(poison)
        if error := self.answers.get("outage"):
            raise error
        return [self.answers.get(fact.reservation_id, len(fact.reservation_id)) for fact in facts]


def fact(name, tenant="acme"):
    """Name a fact."""
    return GiveBack(tenant=tenant, reservation_id=name)


def posting(post, *names, tenant="acme"):
    """Let callers ask at the same time."""
    return [asyncio.create_task(post(fact(name, tenant))) for name in names]


def group_commit(books, *, together_max=8, waiting_max=8):
    """Open one lane."""
    return GroupCommit(books, lanes=1, together_max=together_max, waiting_max=waiting_max)


async def turn():
    """Let every task that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_waits_for_a_transaction_shares_the_next():
    """The first goes at once; those who come while it is under way go together, in their order."""
    books = Books()
    post = group_commit(books)
    first = posting(post, "one")
    await turn()
    others = posting(post, "two", "three", "four")
    await turn()
    assert books.calls == [["one"]]

    books.open.set()
    assert await asyncio.gather(*first, *others) == [3, 3, 5, 4]
    assert books.calls == [["one"], ["two", "three", "four"]]


async def test_each_gets_its_own_answer():
    """A refusal of one is nobody else's."""
    books = Books(b=QuotaExceeded("too much"))
    books.open.set()
    answers = await asyncio.gather(*posting(group_commit(books), "a", "b", "c"), return_exceptions=True)
    assert [answers[0], type(answers[1]), answers[2]] == [1, QuotaExceeded, 1]


async def test_who_is_to_blame_is_refused_alone():
    """A transaction that fails as a whole is taken apart."""
    books = Books(poison="bad")
    books.open.set()
    answers = await asyncio.gather(*posting(group_commit(books), "good", "bad", "fine"), return_exceptions=True)
    assert [answers[0], type(answers[1]), answers[2]] == [4, ValueError, 4]


async def test_an_outage_is_told_to_all_and_taken_apart_for_none():
    """Nobody tries again on behalf of a caller with a deadline."""
    books = Books(outage=Unavailable("away"))
    books.open.set()
    answers = await asyncio.gather(*posting(group_commit(books), "a", "b"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
    assert books.calls == [["a", "b"]]


async def test_no_more_wait_and_no_more_share_than_is_allowed():
    """Who comes too late is told to try again, and a transaction stays of a bounded size."""
    books = Books()
    post = group_commit(books, together_max=2, waiting_max=3)
    under_way = posting(post, "one")
    await turn()
    waiting = posting(post, "two", "three", "four")
    await turn()
    with pytest.raises(Overloaded):
        await post(fact("five"))

    books.open.set()
    await asyncio.gather(*under_way, *waiting)
    assert books.calls == [["one"], ["two", "three"], ["four"]]


async def test_who_has_gone_meanwhile_is_not_booked():
    """Nor does it hold up the others."""
    books = Books()
    post = group_commit(books)
    under_way = posting(post, "one")
    await turn()
    gone, stays = posting(post, "gone", "stays")
    await turn()
    gone.cancel()
    books.open.set()
    await asyncio.gather(*under_way, stays)
    assert books.calls == [["one"], ["stays"]]


async def test_a_transaction_runs_in_nobodys_context():
    """One caller's trace must not become that of all."""
    books = Books()
    books.open.set()
    WHO.set("alice")
    await group_commit(books)(fact("a"))
    assert books.contexts == ["nobody"]


async def test_a_lane_that_came_to_rest_works_again():
    """The next caller starts it anew."""
    books = Books()
    books.open.set()
    post = group_commit(books)
    assert [await post(fact("a")), await post(fact("bb"))] == [1, 2]
