"""Usage is committed before its call is answered, and calls that come together share a transaction."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from headrace import topics
from headrace.usage.v1.usage_pb2 import UsageRecorded
from headrace_embed.adapters.outbox_usage import COMMIT_EVENTS_MAX, OutboxUsage
from headrace_errors import Unavailable
from headrace_messaging import Outgoing, new_envelope


class FakeDatabase:
    """Transactions that commit when they are let; `outage` is what the next one raises."""

    def __init__(self) -> None:
        self.committed: list[list[str]] = []
        self.open: list[str] = []
        self.may_commit = asyncio.Event()
        self.outage: Exception | None = None

    @property
    def events(self) -> list[str]:
        return [event for transaction in self.committed for event in transaction]

    @asynccontextmanager
    async def write(self, *_keys):
        self.open = []
        yield self
        await self.may_commit.wait()
        if self.outage:
            outage, self.outage = self.outage, None
            raise outage
        self.committed.append(self.open)


class FakeOutbox:
    """Rows are event ids."""

    async def encode(self, event):
        return event.envelope.id

    async def store(self, connection, rows):
        connection.open += rows


def usage(number: int) -> Outgoing:
    envelope = new_envelope(topics.USAGE_RECORDED, source="/test", id=f"u{number}", tenant="acme")
    return Outgoing(topics.USAGE_RECORDED, "acme", UsageRecorded(), envelope)


async def begin(book: OutboxUsage, *numbers: int) -> list[asyncio.Task]:
    """Start to keep usages, and let each come as far as it can."""
    calls = [asyncio.create_task(book.keep(usage(number))) for number in numbers]
    for _ in range(5):
        await asyncio.sleep(0)
    return calls


async def test_a_call_waits_for_its_commit():
    """Not before: what its caller was given must be in the ledger one day."""
    database = FakeDatabase()
    (call,) = await begin(OutboxUsage(database, FakeOutbox()), 1)
    assert not call.done()
    database.may_commit.set()
    await call
    assert database.committed == [["u1"]]


async def test_calls_that_come_meanwhile_share_the_next_transaction():
    """Up to a bound, in their order."""
    database = FakeDatabase()
    book = OutboxUsage(database, FakeOutbox())
    first = await begin(book, 0)
    others = await begin(book, *range(1, COMMIT_EVENTS_MAX + 2))
    database.may_commit.set()
    await asyncio.gather(*first, *others)
    assert [len(rows) for rows in database.committed] == [1, COMMIT_EVENTS_MAX, 1]
    assert database.events == [f"u{number}" for number in range(COMMIT_EVENTS_MAX + 2)]


async def test_an_outage_fails_its_calls_and_no_later_one():
    """Each caller learns of it, and may ask again."""
    database = FakeDatabase()
    book = OutboxUsage(database, FakeOutbox())
    calls = await begin(book, 1)
    database.outage = Unavailable("no disk")
    calls += await begin(book, 2)
    database.may_commit.set()
    failed, kept = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(failed, Unavailable)
    assert kept is None
    assert database.committed == [["u2"]]


async def test_a_caller_that_leaves_takes_nothing_back():
    """The model ran for it; and who came with it is not disturbed."""
    database = FakeDatabase()
    calls = await begin(OutboxUsage(database, FakeOutbox()), 1, 2)
    calls[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await calls[0]
    database.may_commit.set()
    await calls[1]
    assert database.events == ["u1", "u2"]
