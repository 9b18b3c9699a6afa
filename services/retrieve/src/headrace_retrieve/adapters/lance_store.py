"""The embedded vector store on LanceDB: a table for each tenant in one folder, and one process at a time.

Tenants share no table, hence no row, index or word statistics. Versions that come in parts wait in files beside the
tables (`staging.py`). A commit survives a kill of the process at once, and a power cut once the system has written
its caches.
"""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

import lancedb
import pyarrow as pa
from headrace_errors import Unavailable
from headrace_telemetry.logs import get_logger

from headrace_retrieve.adapters.group_commit import GroupCommit
from headrace_retrieve.adapters.lance_search import count, search
from headrace_retrieve.adapters.lance_table import Change, TenantTable, Upkeep
from headrace_retrieve.adapters.rows import chunk_rows
from headrace_retrieve.adapters.staging import StagedParts
from headrace_retrieve.adapters.term_counts import TermCounts
from headrace_retrieve.domain import (
    Candidates,
    Deletion,
    DocumentVersion,
    Fence,
    Query,
    Scope,
    Stored,
    Tenant,
    TermStatistics,
    Verdict,
    VersionPart,
    judge,
)
from headrace_retrieve.ports import VectorStore
from headrace_retrieve.settings import Settings

COMMIT_BYTES_MAX = 64 * 2**20
ASSEMBLED_MAX = 4  # versions of many parts held in memory at a time: 150 MB each for the largest file that is let in
SEARCHES_MAX = (
    2  # at a time: each uses all cores, and reads up to 1.5 GB per million chunks of a table without an index
)
INDEX_CACHE_BYTES = 256 * 2**20
METADATA_CACHE_BYTES = 64 * 2**20


@dataclass(slots=True)
class _Open:
    """What is open of one tenant. Tenants are declared in configuration, so there are few."""

    table: TenantTable
    commits: GroupCommit[Change, Stored]
    counts: TermCounts = field(default_factory=TermCounts)


async def open_store(settings: Settings) -> VectorStore:
    """Open the service's own; it takes work once the folder is its own."""
    upkeep = Upkeep(vector_index_rows_min=settings.vector_index_rows_min)
    return await LanceVectorStore.open(settings.store_dir, upkeep=upkeep)


class LanceVectorStore:
    """Implements `VectorStore` in a folder. Make it with `open`."""

    def __init__(self, connection: lancedb.AsyncConnection, folder: Path, lock: IO[bytes], upkeep: Upkeep) -> None:
        self._connection, self._lock, self._upkeep = connection, lock, upkeep
        self._staged = StagedParts(folder / "parts")
        self._tenants: dict[str, _Open] = {}
        self._opening = asyncio.Lock()
        self._assembling = asyncio.Semaphore(ASSEMBLED_MAX)
        self._searching = asyncio.Semaphore(SEARCHES_MAX)

    @classmethod
    async def open(cls, folder: Path, *, upkeep: Upkeep | None = None) -> LanceVectorStore:
        """Open or make the store in `folder`; raises Unavailable while another process has it."""
        lock = await asyncio.to_thread(_lock, folder)
        session = lancedb.Session(INDEX_CACHE_BYTES, METADATA_CACHE_BYTES)
        connection = await lancedb.connect_async(folder / "tables", session=session)
        return cls(connection, folder, lock, upkeep or Upkeep())

    async def write(self, part: VersionPart) -> Stored:
        """See the port."""
        opened = await self._opened(part.tenant)
        before = opened.table.fences.get(part.target.document)
        verdict = judge(before, part.target, part.model, deleted=False)
        if verdict is Verdict.STALE:
            return Stored("stale")
        if verdict is Verdict.REPEAT and before:
            return Stored("indexed", before.chunks) if part.part == part.parts - 1 else Stored("staged")
        if part.chunks:
            await opened.table.require(part.vectors.dimensions)
        rows = chunk_rows(part)
        if part.parts == 1:
            return await self._complete(opened, part, rows)
        if not await asyncio.to_thread(self._staged.add, part, rows):
            return Stored("staged")
        async with self._assembling:
            return await self._complete(opened, part, await asyncio.to_thread(self._staged.read, part))

    async def delete(self, deletion: Deletion) -> Stored:
        """See the port."""
        fence = Fence(deletion.target, deletion.readers, "", 0, deleted=True)
        return await self._switch(await self._opened(deletion.tenant), deletion.tenant, Change(fence, None))

    async def candidates(self, scope: Scope, query: Query) -> Candidates:
        """See the port."""
        opened = await self._opened(scope.tenant)
        async with self._searching:
            snapshot = opened.table.snapshot
            return await search(snapshot, scope, query) if snapshot else Candidates()

    async def term_statistics(self, tenant: Tenant, text: str) -> TermStatistics:
        """See the port."""
        opened = await self._opened(tenant)
        snapshot, total = opened.table.snapshot, opened.table.fences.chunks_total
        if snapshot is None:
            return TermStatistics({}, total)
        return TermStatistics(await opened.counts.of(text, total, partial(count, snapshot, total)), total)

    async def fence(self, tenant: Tenant, document: str) -> Fence | None:
        """See the port."""
        return (await self._opened(tenant)).table.fences.get(document)

    async def reached(self, scope: Scope, targets: Sequence[DocumentVersion]) -> None:
        """See the port."""
        await (await self._opened(scope.tenant)).table.fences.reached(scope.principals, targets)

    async def optimise(self) -> None:
        """See the port."""
        for opened in list(self._tenants.values()):
            async with opened.commits.turn:
                await _fold(opened.table, idle=True)

    async def close(self) -> None:
        """See the port."""
        for opened in self._tenants.values():
            await opened.commits.idle()
        self._connection.close()  # type: ignore[no-untyped-call] # lancedb annotates most, not this
        self._lock.close()

    async def _complete(self, opened: _Open, part: VersionPart, rows: pa.Table) -> Stored:
        fence = Fence(part.target, part.readers, part.model, rows.num_rows)
        return await self._switch(opened, part.tenant, Change(fence, rows))

    async def _switch(self, opened: _Open, tenant: Tenant, change: Change) -> Stored:
        stored = await opened.commits.submit(change)
        if stored.announce:
            await asyncio.to_thread(self._staged.drop, tenant, [change.fence.target])
        return stored

    async def _opened(self, tenant: Tenant) -> _Open:
        async with self._opening:
            if tenant.name not in self._tenants:
                table = TenantTable(self._connection, tenant, self._upkeep)
                await table.open()
                self._tenants[tenant.name] = _Open(table, _commits_of(table))
            return self._tenants[tenant.name]


def _lock(folder: Path) -> IO[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / "lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise Unavailable(f"another process has the vector store in {folder}") from error
    return lock


def _commits_of(table: TenantTable) -> GroupCommit[Change, Stored]:
    async def commit(changes: Sequence[Change]) -> list[Stored]:
        stored = await table.commit(changes)
        await _fold(table, idle=False)
        return stored

    return GroupCommit(commit, size_of=lambda change: change.size_bytes, size_max=COMMIT_BYTES_MAX)


async def _fold(table: TenantTable, *, idle: bool) -> None:
    try:
        await table.fold(idle=idle)
    except (OSError, RuntimeError, ValueError) as error:  # queries stay right without it, only slower
        get_logger().warning("store.fold_failed", error=type(error).__name__)
