"""The registry in SQL: what is announced goes to the outbox in the same transaction, to watchers once it commits."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from headrace_messaging.outbox import Outbox
from headrace_storage import Database
from sqlalchemy import Select, delete, func, insert, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace_ingest.adapters.events import outgoing
from headrace_ingest.adapters.sql_rows import BUS, SUBMISSIONS, VERSIONS, microseconds, to_row, to_version
from headrace_ingest.domain.documents import DocumentVersion, State
from headrace_ingest.domain.facts import Fact, StatusChanged
from headrace_ingest.ports import Clock

VERSIONS_READ_MAX = 50
_CONTENTS = VERSIONS.c.content_sha256, VERSIONS.c.text_sha256
SUBMISSIONS_KEPT = timedelta(days=8)  # longer than any topic keeps an event that could be delivered again


class SqlChange:
    """One document in a writing transaction."""

    def __init__(
        self, connection: AsyncConnection, outbox: Outbox, clock: Clock, *, tenant: str, document: str
    ) -> None:
        self._connection = connection
        self._outbox = outbox
        self._clock = clock
        self._key = (tenant, document)
        self.statuses: list[DocumentVersion] = []

    async def versions(self) -> Sequence[DocumentVersion]:
        """Return the newest versions, newest first."""
        query = select(VERSIONS).where(tuple_(VERSIONS.c.tenant, VERSIONS.c.document) == self._key)
        return await _read(self._connection, query.order_by(VERSIONS.c.version.desc()).limit(VERSIONS_READ_MAX))

    async def contents(self) -> Mapping[str, int]:
        """Return every content that the document ever had, with the first version of it."""
        query = select(VERSIONS.c.version, *_CONTENTS).where(
            tuple_(VERSIONS.c.tenant, VERSIONS.c.document) == self._key
        )
        rows = await self._connection.execute(query.order_by(VERSIONS.c.version.desc()))
        return {sha256: version for version, *contents in rows for sha256 in contents if sha256}

    async def held_elsewhere(self, contents: Collection[str]) -> Collection[str]:
        """Return what versions of other documents hold that no finished deletion came after."""
        tenant, document = self._key
        deletion = VERSIONS.alias("deletion")
        gone = (
            select(deletion.c.version)
            .where(deletion.c.tenant == VERSIONS.c.tenant, deletion.c.document == VERSIONS.c.document)
            .where(deletion.c.version > VERSIONS.c.version, deletion.c.state == State.DELETED.value)
            .exists()
        )
        holds = or_(*(column.in_(contents) for column in _CONTENTS))
        query = select(*_CONTENTS).where(VERSIONS.c.tenant == tenant, VERSIONS.c.document != document, holds, ~gone)
        return {sha256 for row in await self._connection.execute(query) for sha256 in row} & set(contents)

    async def submitted_before(self, fingerprint: str) -> bool:
        """Remember a submission; return whether it was known. Forgets those too old to be delivered again."""
        now = self._clock()
        oldest_us = microseconds(now - SUBMISSIONS_KEPT)
        await self._connection.execute(delete(SUBMISSIONS).where(SUBMISSIONS.c.seen_at_us < oldest_us))
        tenant, document = self._key
        key = {"tenant": tenant, "document": document, "fingerprint": fingerprint}
        known = select(func.count()).select_from(SUBMISSIONS).filter_by(**key)
        if await self._connection.scalar(known):
            return True
        await self._connection.execute(insert(SUBMISSIONS).values(**key, seen_at_us=microseconds(now)))
        return False

    async def put(self, version: DocumentVersion) -> None:
        """Store a version in place of its row, if it has one."""
        key = tuple_(VERSIONS.c.tenant, VERSIONS.c.document, VERSIONS.c.version)
        await self._connection.execute(
            delete(VERSIONS).where(key == (version.tenant, version.document, version.version))
        )
        await self._connection.execute(insert(VERSIONS).values(to_row(version)))

    async def announce(self, fact: Fact) -> None:
        """Put a fact into the outbox."""
        await self._outbox.add(self._connection, outgoing(fact, self._clock()))
        if isinstance(fact, StatusChanged):
            self.statuses.append(fact.version)


class SqlRegistry:
    """Versions in a SQL database; `on_status` is called for every status after its transaction committed."""

    def __init__(
        self, database: Database, outbox: Outbox, clock: Clock, on_status: Callable[[DocumentVersion], None]
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._clock = clock
        self._on_status = on_status

    @asynccontextmanager
    async def change(self, tenant: str, document: str) -> AsyncIterator[SqlChange]:
        """Open a writing transaction on a document."""
        async with self._database.write(f"document/{tenant}/{document}") as connection:
            change = SqlChange(connection, self._outbox, self._clock, tenant=tenant, document=document)
            yield change
        for version in change.statuses:
            self._on_status(version)

    async def newest(self, tenant: str, document: str) -> DocumentVersion | None:
        """Return a document's newest version."""
        query = select(VERSIONS).where(VERSIONS.c.tenant == tenant, VERSIONS.c.document == document)
        found = await self._query(query.order_by(VERSIONS.c.version.desc()).limit(1))
        return found[0] if found else None

    async def page(
        self, tenant: str, *, prefix: str = "", after: str = "", limit: int, with_deleted: bool = False
    ) -> Sequence[DocumentVersion]:
        """Return newest versions by path."""
        newest = (
            select(VERSIONS.c.document, func.max(VERSIONS.c.version).label("version"))
            .where(VERSIONS.c.tenant == tenant, VERSIONS.c.document > after)
            .where(func.substr(VERSIONS.c.document, 1, len(prefix)) == prefix)
            .group_by(VERSIONS.c.document)
            .subquery()
        )
        on = (VERSIONS.c.document == newest.c.document) & (VERSIONS.c.version == newest.c.version)
        query = select(VERSIONS).join(newest, on).where(VERSIONS.c.tenant == tenant)
        if not with_deleted:
            query = query.where(VERSIONS.c.state != State.DELETED.value)
        return await self._query(query.order_by(VERSIONS.c.document).limit(limit))

    async def waiting(self, limit: int) -> Sequence[DocumentVersion]:
        """Return versions that wait to be parsed, longest waiting first."""
        query = select(VERSIONS).where(VERSIONS.c.state == State.SUBMITTED.value, VERSIONS.c.deleted.is_(False))
        return await self._query(query.order_by(VERSIONS.c.accepted_at_us).limit(limit))

    @asynccontextmanager
    async def claim(self, version: DocumentVersion) -> AsyncIterator[bool]:
        """Claim a version that waits; what was read of it may be old, so it is read again."""
        async with self._database.claim(f"parse/{version.tenant}/{version.document}/{version.version}") as ours:
            yield ours and await self._waits(version)

    async def _waits(self, version: DocumentVersion) -> bool:
        query = select(VERSIONS.c.version).where(
            VERSIONS.c.tenant == version.tenant,
            VERSIONS.c.document == version.document,
            VERSIONS.c.version == version.version,
            VERSIONS.c.state == State.SUBMITTED.value,
        )
        async with self._database.read() as connection:
            return await connection.scalar(query) is not None

    async def sent(self) -> Sequence[DocumentVersion]:
        """Return chunked versions and unfinished deletions, in the order in which they were accepted."""
        deleting = (VERSIONS.c.state == State.SUBMITTED.value) & VERSIONS.c.deleted.is_(True)
        query = select(VERSIONS).where((VERSIONS.c.state == State.CHUNKED.value) | deleting)
        return await self._query(query.order_by(VERSIONS.c.accepted_at_us))

    async def changed_since(self, moment: datetime, limit: int) -> Sequence[DocumentVersion]:
        """Return the versions that changed at a moment or later, in that order."""
        query = select(VERSIONS).where(VERSIONS.c.changed_at_us >= microseconds(moment))
        return await self._query(query.order_by(VERSIONS.c.changed_at_us).limit(limit))

    async def open_count(self) -> int:
        """Return how many versions are under way."""
        under_way = VERSIONS.c.state.in_([State.SUBMITTED.value, State.CHUNKED.value])
        async with self._database.read() as connection:
            return int(await connection.scalar(select(func.count()).select_from(VERSIONS).where(under_way)) or 0)

    async def bus_generation(self) -> str:
        """Return the generation of the bus that was served last; empty when none was."""
        async with self._database.read() as connection:
            return str(await connection.scalar(select(BUS.c.generation)) or "")

    async def remember_bus_generation(self, generation: str) -> None:
        """Remember the generation of the bus that is served now."""
        async with self._database.write() as connection:
            await connection.execute(delete(BUS))
            await connection.execute(insert(BUS).values(id=1, generation=generation))

    async def _query(self, query: Select[Any]) -> Sequence[DocumentVersion]:
        async with self._database.read() as connection:
            return await _read(connection, query)


async def _read(connection: AsyncConnection, query: Select[Any]) -> Sequence[DocumentVersion]:
    return [to_version(row) for row in (await connection.execute(query)).fetchall()]
