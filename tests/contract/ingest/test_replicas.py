"""Two replicas of ingest on one registry: each document is parsed by one of them, and watched on both."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from headrace_ingest.adapters.elsewhere import ChangesElsewhere
from headrace_ingest.adapters.sql_registry import SqlRegistry
from headrace_ingest.adapters.sql_rows import METADATA
from headrace_ingest.adapters.watchers import Watchers
from headrace_ingest.budget import ByteBudget
from headrace_ingest.domain.documents import Cause, DocumentVersion, State, Submission, first_state
from headrace_ingest.entrypoints.backlog import Backlog
from headrace_messaging import Bus, Codec
from headrace_messaging.outbox import Outbox, outbox_table
from sqlalchemy import MetaData

BEGINNING = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Clock:
    """Goes on by itself, a little at every look."""

    def __init__(self) -> None:
        self.now = BEGINNING

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def replicas(databases, clock):
    """Return two replicas' registries."""
    metadata = MetaData()
    for table in METADATA.sorted_tables:
        table.to_metadata(metadata)
    outbox = Outbox(outbox_table(metadata), Codec(Bus("nowhere:1"), None))
    return [
        SqlRegistry(await databases.open("postgresql", metadata), outbox, clock, lambda _version: None)
        for _ in range(2)
    ]


def submitted(number: int) -> DocumentVersion:
    """Return a version that waits to be parsed."""
    cause = Cause(f"event-{number}", "run-1", "alice")
    everyone = ("everyone",)
    submission = Submission("acme", f"{number:02}.txt", "0" * 64, 3, "text/plain", everyone, cause, everyone)
    return first_state(submission, 1, BEGINNING)


async def put(registry: SqlRegistry, version: DocumentVersion) -> None:
    """Store a version."""
    async with registry.change(version.tenant, version.document) as change:
        await change.put(version)


async def test_each_document_is_parsed_by_one_replica(replicas, clock):
    """Parsing is dear: two that see the same documents waiting share them."""
    parsed: list[str] = []
    for number in range(12):
        await put(replicas[0], submitted(number))

    def backlog(registry: SqlRegistry) -> Backlog:
        async def digest(version: DocumentVersion) -> None:
            parsed.append(version.document)
            await asyncio.sleep(0.05)
            await put(registry, version.moved(State.INDEXED, clock(), stage="index"))

        async def give_up(version: DocumentVersion, error: Exception) -> None:
            raise AssertionError(version, error)

        return Backlog(
            waiting=registry.waiting,
            digest=digest,
            give_up=give_up,
            claim=registry.claim,
            budget=ByteBudget(1000),
            documents_max=3,
        )

    running = [asyncio.create_task(backlog(registry).run()) for registry in replicas]
    try:
        async with asyncio.timeout(120):
            while await replicas[0].open_count():  # noqa: ASYNC110 - the database is what is asked
                await asyncio.sleep(0.02)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    assert sorted(parsed) == [f"{number:02}.txt" for number in range(12)]


async def test_a_version_that_is_done_cannot_be_claimed(replicas, clock):
    """The list that named it was read before the other replica was done."""
    version = submitted(1)
    await put(replicas[0], version.moved(State.FAILED, clock(), stage="parse"))
    async with replicas[1].claim(version) as ours:
        assert not ours


async def test_who_watches_here_hears_of_changes_elsewhere_once(replicas, clock):
    """Changes of both replicas, in order, and none that is older than what was told."""
    watchers = Watchers()
    elsewhere = ChangesElsewhere(replicas[0].changed_since, watchers, clock)
    version = submitted(1)
    chunked = version.moved(State.CHUNKED, clock(), stage="parse")
    indexed = version.moved(State.INDEXED, clock(), stage="index")
    with watchers.watching("acme", frozenset()) as watcher:
        await put(replicas[1], chunked)
        await elsewhere.look()
        await elsewhere.look()
        changes = aiter(watcher.changes())
        assert (await anext(changes)).state is State.CHUNKED
        elsewhere.tell(indexed)
        await elsewhere.look()  # the registry still says what was before
        assert (await anext(changes)).state is State.INDEXED
        watchers.close()
        assert [version async for version in changes] == []
