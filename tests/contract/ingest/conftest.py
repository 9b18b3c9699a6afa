"""Ingest's use cases on a registry in memory and on one in SQL: one suite holds both to the same expectations."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from headrace_errors import InvalidMessage
from headrace_ingest import handlers
from headrace_ingest.adapters.sql_registry import SqlRegistry
from headrace_ingest.adapters.sql_rows import METADATA
from headrace_ingest.domain.admission import IntakeLimits, Request
from headrace_ingest.domain.chunking import ChunkedDocument, Span
from headrace_ingest.domain.documents import Cause, DocumentVersion, State
from headrace_ingest.domain.facts import ChunksCreated, Fact, StatusChanged
from headrace_ingest.domain.parsed import Page, ParsedDocument, ParsingError
from headrace_ingest.parsers import FORMATS
from headrace_messaging import Bus, Codec
from headrace_messaging.outbox import Outbox, outbox_table
from sqlalchemy import MetaData

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class MemoryRegistry:
    """Versions in memory; a change that raises leaves nothing behind."""

    kept: dict[tuple[str, str, int], DocumentVersion] = field(default_factory=dict)
    submissions: set[tuple[str, str, str]] = field(default_factory=set)

    @asynccontextmanager
    async def change(self, tenant: str, document: str) -> AsyncIterator["MemoryChange"]:
        change = MemoryChange(tenant, document, dict(self.kept), set(self.submissions))
        yield change
        self.kept, self.submissions = change.kept, change.submissions

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
    submissions: set[tuple[str, str, str]]

    async def versions(self) -> Sequence[DocumentVersion]:
        return _newest_first(self.kept, self.tenant, self.document)

    async def contents(self) -> dict[str, int]:
        found = _newest_first(self.kept, self.tenant, self.document)
        return {sha256: one.version for one in found for sha256 in (one.content_sha256, one.text_sha256) if sha256}

    async def held_elsewhere(self, contents: Collection[str]) -> set[str]:
        others = [one for one in self.kept.values() if one.tenant == self.tenant and one.document != self.document]
        gone = {(one.document, one.version) for one in others if one.state is State.DELETED}
        live = [one for one in others if not any(n == one.document and v > one.version for n, v in gone)]
        return {sha256 for one in live for sha256 in (one.content_sha256, one.text_sha256)} & set(contents)

    async def submitted_before(self, fingerprint: str) -> bool:
        submission = (self.tenant, self.document, fingerprint)
        known = submission in self.submissions
        self.submissions.add(submission)
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
        self.kept: dict[tuple[str, str], bytes] = {}

    async def put(self, tenant: str, content: bytes) -> str:
        self.kept[tenant, f"blob-{content!r}"] = content
        return f"blob-{content!r}"

    async def get(self, tenant: str, sha256: str) -> bytes:
        if (tenant, sha256) not in self.kept:
            raise InvalidMessage("no such blob", reason="blob_not_found")
        return self.kept[tenant, sha256]

    async def erase(self, tenant: str, sha256: str) -> None:
        self.kept.pop((tenant, sha256), None)


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
    """Two tenants; the first has one principal."""

    def declared(self, tenant: str) -> bool:
        return tenant in ("acme", "globex")

    def principals_of(self, tenant: str, auth_id: str) -> tuple[str, ...] | None:
        return (auth_id, "everyone") if self.declared(tenant) else None

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
        self._forget = partial(handlers.forget, "acme", **bound)
        self._settle = partial(handlers.settle, "acme", **bound)
        self._take_in = partial(handlers.take_in, tenancy=OpenTenancy(), formats=FORMATS, blobs=self.blobs, **bound)
        self._digest = partial(
            handlers.digest, blobs=self.blobs, parser=self.parser, formats=FORMATS, part_chunks_max=2, **bound
        )
        return self

    def clock(self) -> datetime:
        self.now += timedelta(milliseconds=250)
        return self.now

    def cause(self, event_id: str = "", source: str = "/test") -> Cause:
        self.events += 1
        return Cause(event_id or f"event-{self.events}", "run-1", "alice", source=source)

    async def submit(
        self,
        content: bytes = b"one two three",
        *,
        name: str = "a.txt",
        allow: tuple[str, ...] = (),
        tenant: str = "acme",
        principals: tuple[str, ...] = ("everyone",),
        event_id: str = "",
        source: str = "/test",
        limits: IntakeLimits | None = None,
    ) -> DocumentVersion:
        request = Request(tenant, name, allow=allow, principals=principals)
        return await self._take_in(request, content, self.cause(event_id, source), limits=limits or IntakeLimits())

    async def forget(self, name: str, cause: Cause, *principals: str) -> DocumentVersion:
        return await self._forget(name, cause, principals or ("everyone",))

    async def erase(self, name: str = "a.txt", *principals: str, **limits: int) -> Sequence[str]:
        stores = {"registry": self.registry, "blobs": self.blobs}
        return await handlers.erase("acme", name, principals or ("everyone",), **stores, **limits)

    async def digest_all(self) -> None:
        for version in await self.registry.waiting(100):
            await self._digest(version)

    async def settle(self, number: int, state: State = State.INDEXED, *, name: str = "a.txt", reason: str = "") -> None:
        await self._settle(name, number, state, reason=reason)

    async def index(self, content: bytes = b"one two three", *, name: str = "a.txt") -> DocumentVersion:
        version = await self.submit(content, name=name)
        await self.digest_all()
        await self.settle(version.version, name=name)
        return version

    async def delete(self, name: str = "a.txt") -> DocumentVersion:
        version = await self.forget(name, self.cause())
        await self.settle(version.version, State.DELETED, name=name)
        return version


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def world(request: pytest.FixtureRequest, databases: Any) -> AsyncIterator[World]:
    """Make use cases on a registry of each kind."""
    world = World()
    if request.param == "memory":
        yield world.on(MemoryRegistry())
        return
    metadata = MetaData()
    for table in METADATA.sorted_tables:
        table.to_metadata(metadata)
    outbox = Outbox(outbox_table(metadata), Codec(Bus("nowhere:1"), None))
    database = await databases.open(request.param, metadata)
    yield world.on(SqlRegistry(database, outbox, world.clock, lambda _: None))
