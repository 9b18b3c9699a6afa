"""What becomes of documents: versions, repeats, deletions, failures, and who is told what.

Every expectation holds on the registry in memory and on the one in SQL.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from headrace_errors import InvalidMessage, Overloaded, Refused
from headrace_ingest import handlers
from headrace_ingest.adapters.sql_registry import SqlRegistry
from headrace_ingest.adapters.sql_rows import METADATA
from headrace_ingest.domain.admission import IntakeLimits, Request
from headrace_ingest.domain.chunking import ChunkedDocument, Span
from headrace_ingest.domain.documents import Cause, DocumentVersion, State
from headrace_ingest.domain.facts import ChunksCreated, Decided, DocumentDeleted, Fact, StatusChanged
from headrace_ingest.domain.parsed import Page, ParsedDocument, ParsingError, Reason
from headrace_ingest.parsers import FORMATS
from headrace_messaging import Bus, Codec
from headrace_messaging.outbox import Outbox, outbox_table
from headrace_storage import Database
from sqlalchemy import MetaData

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class MemoryRegistry:
    """Versions in memory; a change that raises leaves nothing behind."""

    kept: dict[tuple[str, str, int], DocumentVersion] = field(default_factory=dict)
    events: set[str] = field(default_factory=set)

    @asynccontextmanager
    async def change(self, tenant: str, document: str) -> AsyncIterator["MemoryChange"]:
        change = MemoryChange(tenant, document, dict(self.kept), set(self.events))
        yield change
        self.kept, self.events = change.kept, change.events

    async def newest(self, tenant: str, document: str) -> DocumentVersion | None:
        return next(iter(_newest_first(self.kept, tenant, document)), None)

    async def page(
        self, tenant: str, *, prefix: str = "", after: str = "", limit: int, with_deleted: bool = False
    ) -> Sequence[DocumentVersion]:
        names = sorted({name for owner, name, _ in self.kept if owner == tenant})
        newest = [_newest_first(self.kept, tenant, name)[0] for name in names if name > after]
        shown = [one for one in newest if one.document.startswith(prefix)]
        return [one for one in shown if with_deleted or one.state is not State.DELETED][:limit]

    async def waiting(self, limit: int) -> Sequence[DocumentVersion]:
        return [one for one in self.kept.values() if one.state is State.SUBMITTED and not one.deleted][:limit]

    async def sent(self) -> Sequence[DocumentVersion]:
        return [one for one in self.kept.values() if one.open and (one.deleted or one.state is State.CHUNKED)]

    async def open_count(self) -> int:
        return sum(version.open for version in self.kept.values())


@dataclass
class MemoryChange:
    """One document of the registry in memory, inside a transaction."""

    tenant: str
    document: str
    kept: dict[tuple[str, str, int], DocumentVersion]
    events: set[str]

    async def versions(self) -> Sequence[DocumentVersion]:
        return _newest_first(self.kept, self.tenant, self.document)

    async def submitted_before(self, event_id: str) -> bool:
        known = event_id in self.events
        self.events.add(event_id)
        return known

    async def put(self, version: DocumentVersion) -> None:
        self.kept[version.tenant, version.document, version.version] = version

    async def announce(self, fact: Fact) -> None:
        del fact


def _newest_first(
    kept: dict[tuple[str, str, int], DocumentVersion], tenant: str, document: str
) -> list[DocumentVersion]:
    found = [version for (owner, name, _), version in kept.items() if (owner, name) == (tenant, document)]
    return sorted(found, key=lambda version: -version.version)


class Recorded:
    """A registry of either kind, and what was announced by transactions that committed."""

    def __init__(self, registry: Any) -> None:
        self._registry = registry
        self.told: list[Fact] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._registry, name)

    @asynccontextmanager
    async def change(self, tenant: str, document: str) -> AsyncIterator[Any]:
        told: list[Fact] = []
        async with self._registry.change(tenant, document) as change:
            announce = change.announce

            async def record(fact: Fact) -> None:
                await announce(fact)
                told.append(fact)

            change.announce = record
            yield change
        self.told += told

    async def states(self, document: str = "a.txt") -> dict[int, str]:
        """Return the state of each version of a document."""
        async with self._registry.change("acme", document) as change:
            return {version.version: str(version.state) for version in await change.versions()}

    def statuses(self) -> list[tuple[int, str, str]]:
        """Return the version, state and reason of every status told."""
        told = [fact.version for fact in self.told if isinstance(fact, StatusChanged)]
        return [(version.version, str(version.state), version.reason) for version in told]

    def parts(self) -> list[ChunksCreated]:
        """Return every part of chunks told."""
        return [fact for fact in self.told if isinstance(fact, ChunksCreated)]


class FakeBlobs:
    """Bytes by a name that stands for their hash."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def put(self, content: bytes) -> str:
        self.kept[f"blob-{content!r}"] = content
        return f"blob-{content!r}"

    async def get(self, sha256: str) -> bytes:
        if sha256 not in self.kept:
            raise InvalidMessage("no such blob", reason="blob_not_found")
        return self.kept[sha256]


class FakeParser:
    """Takes bytes for text and words for chunks; `meanwhile` happens while it parses."""

    def __init__(self) -> None:
        self.error: ParsingError | None = None
        self.meanwhile: Callable[[], Any] | None = None

    async def parse(self, found: Any, content: bytes) -> ChunkedDocument:
        del found
        if self.meanwhile:
            await self.meanwhile()
        if self.error:
            raise self.error
        text, spans, end = content.decode(), [], 0
        for word in text.split():
            start = text.index(word, end)
            end = start + len(word)
            spans.append(Span(start, end, 1))
        return ChunkedDocument(ParsedDocument(text, (Page(1, 0, len(text)),), "Title"), tuple(spans))


class OpenTenancy:
    """One tenant, with one principal."""

    def declared(self, tenant: str) -> bool:
        return tenant == "acme"

    def knows(self, tenant: str, principal: str) -> bool:
        return (tenant, principal) == ("acme", "staff")


class World:
    """The use cases on fakes."""

    def __init__(self) -> None:
        self.blobs, self.parser = FakeBlobs(), FakeParser()
        self.now, self.events = BEGINNING, 0

    def on(self, registry: Any) -> "World":
        """Bind the use cases to a registry."""
        self.registry = Recorded(registry)
        bound = {"registry": self.registry, "clock": self.clock}
        self.forget = partial(handlers.forget, "acme", **bound)
        self._settle = partial(handlers.settle, "acme", **bound)
        self._take_in = partial(handlers.take_in, tenancy=OpenTenancy(), formats=FORMATS, blobs=self.blobs, **bound)
        self._digest = partial(
            handlers.digest, blobs=self.blobs, parser=self.parser, formats=FORMATS, part_chunks_max=2, **bound
        )
        return self

    def clock(self) -> datetime:
        self.now += timedelta(milliseconds=250)
        return self.now

    def cause(self, event_id: str = "") -> Cause:
        self.events += 1
        return Cause(event_id or f"event-{self.events}", "run-1", "alice")

    async def submit(
        self,
        content: bytes = b"one two three",
        *,
        name: str = "a.txt",
        allow: tuple[str, ...] = (),
        tenant: str = "acme",
        event_id: str = "",
        limits: IntakeLimits | None = None,
    ) -> DocumentVersion:
        request = Request(tenant, name, allow=allow)
        return await self._take_in(request, content, self.cause(event_id), limits=limits or IntakeLimits())

    async def digest_all(self) -> None:
        for version in await self.registry.waiting(100):
            await self._digest(version)

    async def settle(self, number: int, state: State = State.INDEXED, *, name: str = "a.txt", reason: str = "") -> None:
        await self._settle(name, number, state, reason=reason)

    async def index(self, content: bytes = b"one two three") -> DocumentVersion:
        version = await self.submit(content)
        await self.digest_all()
        await self.settle(version.version)
        return version


@pytest.fixture(params=["memory", "sql"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """Make use cases on a registry of each kind."""
    world = World()
    if request.param == "memory":
        yield world.on(MemoryRegistry())
        return
    metadata = MetaData()
    for table in METADATA.sorted_tables:
        table.to_metadata(metadata)
    outbox = Outbox(outbox_table(metadata), Codec(Bus("nowhere:1"), None))
    database = await Database.open(tmp_path / "state.db", metadata)
    yield world.on(SqlRegistry(database, outbox, world.clock, lambda _: None))
    await database.close()


async def test_a_document_is_submitted_chunked_and_indexed(world: World) -> None:
    """Every step is told once, with its chunks in parts of bounded size."""
    await world.index(b"one two three")
    assert world.registry.statuses() == [(1, "submitted", ""), (1, "chunked", ""), (1, "indexed", "")]
    parts = world.registry.parts()
    assert [(part.part, part.parts, [chunk.text for chunk in part.chunks]) for part in parts] == [
        (0, 2, ["one", "two"]),
        (1, 2, ["three"]),
    ]
    version = await world.registry.newest("acme", "a.txt")
    assert version
    assert (version.chunks, version.pages, version.title, version.allow) == (3, 1, "Title", ("everyone",))
    assert {stage: took > 0 for stage, took in version.timings_ms.items()} == {"parse": True, "index": True}
    assert [fact.action for fact in world.registry.told if isinstance(fact, Decided)] == ["document.accepted"]


async def test_chunk_ids_depend_on_the_text_and_its_place_only(world: World) -> None:
    """So that a crash that repeats the step repeats the ids."""
    await world.index(b"same same")
    await world.submit(b"same same", allow=("staff",))
    await world.digest_all()
    first, second = world.registry.parts()
    assert [chunk.chunk_id for chunk in first.chunks] == [chunk.chunk_id for chunk in second.chunks]
    assert len({chunk.chunk_id for chunk in first.chunks}) == 2


async def test_the_same_file_for_the_same_readers_is_unchanged_once_indexed(world: World) -> None:
    """It is told, with the submission that it answers, and is no version."""
    await world.index()
    again = await world.submit()
    assert (again.version, again.state) == (1, State.UNCHANGED)
    assert world.registry.statuses()[-1] == (1, "unchanged", "")
    assert await world.registry.states() == {1: "indexed"}


async def test_a_changed_file_and_changed_readers_are_each_the_next_version(world: World) -> None:
    """The order in which readers are named does not count."""
    await world.index(b"old")
    assert (await world.submit(b"new")).version == 2
    await world.digest_all()
    await world.settle(2)
    assert (await world.submit(b"new", allow=("staff", "everyone"))).version == 3
    await world.digest_all()
    await world.settle(3)
    assert (await world.submit(b"new", allow=("everyone", "staff"))).state is State.UNCHANGED


async def test_a_repeat_before_it_is_indexed_sends_the_version_on_its_way_again(world: World) -> None:
    """A no-op only once it is indexed: what was sent may have been lost."""
    await world.submit()
    assert (await world.submit()).state is State.SUBMITTED
    await world.digest_all()
    again = await world.submit()
    assert (again.version, again.attempt) == (1, 2)
    await world.digest_all()
    assert len(world.registry.parts()) == 4
    assert await world.registry.states() == {1: "chunked"}


async def test_a_redelivered_submission_changes_nothing(world: World) -> None:
    """Not even when a newer one came in between."""
    await world.submit(b"old", event_id="first")
    await world.digest_all()
    await world.submit(b"new", event_id="second")
    assert (await world.submit(b"old", event_id="first")).version == 1
    assert await world.registry.states() == {1: "chunked", 2: "submitted"}


async def test_a_failed_version_changes_nothing_and_can_be_tried_again(world: World) -> None:
    """What was indexed before still counts as the document's content."""
    await world.index(b"good")
    world.parser.error = ParsingError(Reason.ENCRYPTED, "protected by a password")
    await world.submit(b"locked")
    await world.digest_all()
    assert world.registry.statuses()[-1] == (2, "failed", "encrypted")
    assert (await world.submit(b"good")).state is State.UNCHANGED
    assert (await world.submit(b"locked")).version == 3


async def test_a_version_without_its_bytes_fails(world: World) -> None:
    """It does not wait for ever."""
    await world.submit()
    world.blobs.kept.clear()
    await world.digest_all()
    assert world.registry.statuses()[-1] == (1, "failed", "blob_not_found")


async def test_a_version_overtaken_before_it_was_parsed_is_superseded(world: World) -> None:
    """Whether it waits or is being parsed: its chunks are not sent."""

    async def overtake() -> None:
        world.parser.meanwhile = None
        await world.submit(b"newer")

    await world.submit(b"old")
    world.parser.meanwhile = overtake
    await world.digest_all()
    assert await world.registry.states() == {1: "failed", 2: "submitted"}
    assert (1, "failed", "superseded") in world.registry.statuses()
    assert not world.registry.parts()


async def test_a_version_overtaken_later_ends_when_the_newer_one_is_indexed(world: World) -> None:
    """Every version ends, also one of which nothing is heard any more."""
    await world.submit(b"old")
    await world.digest_all()
    await world.submit(b"new")
    await world.digest_all()
    await world.settle(2)
    assert await world.registry.states() == {1: "failed", 2: "indexed"}
    await world.settle(1)
    assert await world.registry.states() == {1: "failed", 2: "indexed"}


async def test_what_the_index_says_first_counts(world: World) -> None:
    """And what does not fit the version is ignored."""
    await world.submit()
    await world.digest_all()
    await world.settle(1, State.DELETED)
    await world.settle(7)
    assert await world.registry.states() == {1: "chunked"}
    await world.settle(1, State.FAILED, reason="model_missing")
    await world.settle(1, State.INDEXED)
    assert world.registry.statuses()[-1] == (1, "failed", "model_missing")


async def test_a_deletion_is_the_next_version_and_ends_deleted(world: World) -> None:
    """The same file afterwards is a new version."""
    await world.index()
    buried = await world.forget("a.txt", world.cause())
    assert (buried.version, buried.deleted, buried.state) == (2, True, State.SUBMITTED)
    assert buried.allow == ("everyone",)
    assert [fact.version.version for fact in world.registry.told if isinstance(fact, DocumentDeleted)] == [2]
    await world.digest_all()
    await world.settle(2, State.DELETED)
    assert world.registry.statuses()[-1] == (2, "deleted", "")
    assert (await world.forget("a.txt", world.cause())).version == 2
    assert (await world.submit()).version == 3


async def test_a_deletion_under_way_is_sent_again_when_asked_again(world: World) -> None:
    """Under the same version."""
    await world.index()
    await world.forget("a.txt", world.cause())
    again = await world.forget("a.txt", world.cause())
    assert (again.version, again.attempt) == (2, 2)
    assert len([fact for fact in world.registry.told if isinstance(fact, DocumentDeleted)]) == 2


async def test_what_never_was_cannot_be_deleted(world: World) -> None:
    """And is told so."""
    with pytest.raises(Refused) as refused:
        await world.forget("never.txt", world.cause())
    assert refused.value.reason == "unknown_document"


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"name": "a\x00.txt"}, "bad_name"),
        ({"name": "../a.txt"}, "bad_name"),
        ({"name": "a.exe"}, "unsupported_type"),
        ({"tenant": "nobody"}, "unknown_tenant"),
        ({"allow": ("stranger",)}, "unknown_principal"),
        ({"allow": ("",)}, "invalid_request"),
        ({"allow": ("staff",) * 65}, "invalid_request"),
        ({"content": b"x" * 11, "limits": IntakeLimits(file_bytes_max=10)}, "too_large"),
    ],
)
async def test_a_refusal_is_told_and_is_no_version(world: World, asked: dict[str, Any], reason: str) -> None:
    """Nothing is stored of it; the audit record hears of it."""
    refused = await world.submit(**asked)
    assert (refused.version, refused.state, refused.reason) == (0, State.FAILED, reason)
    assert world.registry.statuses() == [(0, "failed", reason)]
    assert await world.registry.page("acme", limit=10) == []
    assert not world.blobs.kept
    assert [fact.disposition for fact in world.registry.told if isinstance(fact, Decided)] == ["blocked"]


async def test_too_many_documents_under_way_make_submissions_wait(world: World) -> None:
    """Nothing is stored of the one that has to wait."""
    limits = IntakeLimits(open_max=1)
    await world.submit(limits=limits)
    with pytest.raises(Overloaded):
        await world.submit(name="b.txt", limits=limits)


async def test_what_others_were_working_on_is_sent_again_to_a_new_bus(world: World) -> None:
    """Chunked versions and deletions; not what waits, nor what has ended, nor what a newer version overtook."""
    await world.index()
    await world.submit(name="old.txt")
    await world.digest_all()
    await world.submit(b"newer", name="old.txt")
    for name in ("waiting.txt", "chunked.txt", "deleted.txt"):
        await world.submit(name=name)
    await world.forget("deleted.txt", world.cause())
    waiting = await world.registry.newest("acme", "waiting.txt")
    await world._digest(await world.registry.newest("acme", "chunked.txt"))
    assert await handlers.resend_all(registry=world.registry, clock=world.clock) == 3
    again = await world.registry.newest("acme", "chunked.txt")
    assert again
    assert (again.state, again.attempt) == (State.SUBMITTED, 2)
    assert await world.registry.newest("acme", "waiting.txt") == waiting
    assert await world.registry.states("old.txt") == {1: "failed", 2: "submitted"}
    assert len([fact for fact in world.registry.told if isinstance(fact, DocumentDeleted)]) == 2


async def test_giving_up_fails_a_waiting_version_only(world: World) -> None:
    """A fault of ours has a reason, too."""
    waiting = await world.submit()
    error = ParsingError(Reason.INTERNAL_ERROR, "a fault of ours")
    give_up = partial(handlers.give_up, error=error, registry=world.registry, clock=world.clock)
    await give_up(waiting)
    await give_up(replace(waiting, version=9))
    assert world.registry.statuses()[-1] == (1, "failed", "internal_error")


async def test_documents_are_listed_by_path_in_pages(world: World) -> None:
    """The newest version of each; deleted ones only when asked for."""
    for name in ("b/2.txt", "a.txt", "b/1.txt", "b_.txt"):
        await world.submit(name=name)
    await world.submit(b"newer", name="b/1.txt")
    await world.forget("a.txt", world.cause())
    await world.settle(2, State.DELETED)

    async def names(**asked: Any) -> list[tuple[str, int]]:
        page = await world.registry.page("acme", **{"limit": 10, **asked})
        return [(version.document, version.version) for version in page]

    assert await names() == [("b/1.txt", 2), ("b/2.txt", 1), ("b_.txt", 1)]
    assert await names(prefix="b/", limit=1) == [("b/1.txt", 2)]
    assert await names(prefix="b/", after="b/1.txt") == [("b/2.txt", 1)]
    assert await names(prefix="B/") == []
    assert await names(with_deleted=True, limit=1) == [("a.txt", 2)]
    assert await world.registry.page("globex", limit=10) == []
