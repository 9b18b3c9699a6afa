"""The vector store on Weaviate, for several processes at a time: whole versions by the order of writes (`snapshot.py`).

A version becomes the document's when its fence is added, after all its chunks (`records.py`). What it replaced stays
for a while for queries under way and is then removed by whichever process gets there first.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from weakref import WeakValueDictionary

from headrace_errors import InvalidMessage, Unavailable

from headrace_retrieve.adapters.digests import digest
from headrace_retrieve.adapters.weaviate import chunks, records, snapshot, sweep
from headrace_retrieve.adapters.weaviate.connection import Connection
from headrace_retrieve.adapters.weaviate.layout import Layout, Shelf, vector_name
from headrace_retrieve.adapters.weaviate.recollection import Recollection
from headrace_retrieve.adapters.weaviate.records import DocumentRecords, FenceRecord
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

SEARCHES_MAX = 16  # at a time
INSERTS_MAX = 4
POLL_MIN_S, POLL_MAX_S = 0.05, 1.0  # how often a wait looks for what another process wrote


class WeaviateVectorStore:
    """Implements `VectorStore` on a Weaviate server or cluster. Nothing is connected before the first call."""

    def __init__(
        self,
        connection: Connection,
        prefix: str,
        *,
        retained_s: float = snapshot.RETAINED_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection, self._layout = connection, Layout(connection, prefix)
        self._clock = clock
        self._recollections: defaultdict[str, Recollection] = defaultdict(Recollection)
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._searching, self._inserting = asyncio.Semaphore(SEARCHES_MAX), asyncio.Semaphore(INSERTS_MAX)
        self._sweeper = sweep.Sweeper(self._layout, self._recollections, retained_s=retained_s, clock=clock)

    async def write(self, part: VersionPart) -> Stored:
        """See the port."""
        async with self._turn(part.tenant, part.target.document), self._trying():
            shelf = await self._layout.made_shelf(part.tenant)
            before, leftovers = await _look(shelf, part.target.document)
            verdict = judge(before.fence, part.target, part.model, deleted=False)
            if verdict is Verdict.STALE:
                return Stored("stale")
            if verdict is Verdict.REPEAT and before.fence:
                return Stored("indexed", before.fence.chunks) if part.part == part.parts - 1 else Stored("staged")
            return await self._place(shelf, part, before, leftovers=leftovers)

    async def delete(self, deletion: Deletion) -> Stored:
        """See the port."""
        async with self._turn(deletion.tenant, deletion.target.document), self._trying():
            shelf = await self._layout.made_shelf(deletion.tenant)
            before, leftovers = await _look(shelf, deletion.target.document)
            verdict = judge(before.fence, deletion.target, "", deleted=True)
            if verdict in {Verdict.STALE, Verdict.REPEAT}:
                return Stored("stale" if verdict is Verdict.STALE else "deleted")
            fence = Fence(deletion.target, deletion.readers, "", 0, deleted=True)
            record = _record(fence, "", before, dimensions=0, leftovers=leftovers)
            return await self._switch(deletion.tenant, shelf, record, before)

    async def candidates(self, scope: Scope, query: Query) -> Candidates:
        """See the port."""
        async with self._searching, self._trying():
            shelf = await self._layout.shelf(scope.tenant)
            if shelf is None:
                return Candidates()
            return await snapshot.search(
                shelf,
                scope,
                query,
                recollection=self._of(scope.tenant),
                vectors=await self._layout.has_vector(vector_name(query.model, len(query.vector))),
                clock=self._clock,
            )

    async def term_statistics(self, tenant: Tenant, text: str) -> TermStatistics:
        """See the port."""
        async with self._searching, self._trying():
            shelf = await self._layout.shelf(tenant)
            if shelf is None:
                return TermStatistics({}, 0)
            remembered = self._of(tenant)
            hidden = remembered.hidden
            total = await chunks.count(shelf.chunks, hidden)
            counted = await remembered.counts.of(text, total, partial(chunks.count_word, shelf.chunks, hidden))
            return TermStatistics(counted, total)

    async def fence(self, tenant: Tenant, document: str) -> Fence | None:
        """See the port."""
        async with self._trying():
            shelf = await self._layout.shelf(tenant)
            return (await records.read_document(shelf.documents, document)).fence if shelf else None

    async def reached(self, scope: Scope, targets: Sequence[DocumentVersion]) -> None:
        """See the port."""
        wanted: dict[str, int] = {}
        for target in targets:
            key = digest(target.document)
            wanted[key] = max(wanted.get(key, 0), target.version)
        pause_s = POLL_MIN_S
        with self._of(scope.tenant).watching(wanted) as moved:
            while True:
                moved.clear()
                if await self._all_reached(scope, wanted):
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await moved.wait()
                pause_s = min(2 * pause_s, POLL_MAX_S)

    async def optimise(self) -> None:
        """Remove what was replaced a while ago; Weaviate folds its indexes by itself."""
        async with self._trying():
            await self._sweeper.sweep()

    async def close(self) -> None:
        """See the port."""
        await self._connection.close()

    async def _place(self, shelf: Shelf, part: VersionPart, before: DocumentRecords, *, leftovers: bool) -> Stored:
        """Write a part's chunks unseen, then note it, or switch to its version if it was the last one."""
        generation = records.generation_of(part, before)
        if part.chunks:
            await self._require(part.tenant, shelf, part.vectors.dimensions)
            await self._layout.make_vector(vector_name(part.model, part.vectors.dimensions))
            async with self._inserting:
                await chunks.insert(shelf.chunks, part, generation)
        gathered = {**before.parts.get(generation, {}), part.part: len(part.chunks)}
        if len(gathered) < part.parts:
            await records.add_part(shelf.documents, part, generation)
            return Stored("staged")
        fence = Fence(part.target, part.readers, part.model, sum(gathered.values()))
        dimensions = part.vectors.dimensions if fence.chunks else 0
        record = _record(fence, generation, before, dimensions=dimensions, leftovers=leftovers)
        return await self._switch(part.tenant, shelf, record, before)

    async def _switch(self, tenant: Tenant, shelf: Shelf, record: FenceRecord, before: DocumentRecords) -> Stored:
        """Add the fence; what was there before stays for queries under way, but for no new ones."""
        await records.add_fence(shelf.documents, record)
        remembered = self._of(tenant)
        now = (await records.read_document(shelf.documents, record.fence.target.document)).effective
        if now is None or now.order < record.order:
            raise Unavailable("Weaviate lost a document's record")
        if now.order > record.order:  # this process lost the document's partition and is late
            return await self._step_back(remembered, shelf, record, now)
        if record.untidy:
            remembered.note_untidy(record, self._clock())
        remembered.hide(one.generation for one in before.fences)
        remembered.note_fences({record.document_key: record}, self._clock())
        remembered.moved(record.document_key)
        return Stored("deleted") if record.fence.deleted else Stored("indexed", record.fence.chunks)

    async def _step_back(self, remembered: Recollection, shelf: Shelf, late: FenceRecord, now: FenceRecord) -> Stored:
        if now.generation != late.generation:
            remembered.hide([late.generation])
            await records.mark_untidy(shelf.documents, now)
            remembered.note_untidy(now, self._clock())
        return Stored("stale")

    async def _require(self, tenant: Tenant, shelf: Shelf, dimensions: int) -> None:
        remembered = self._of(tenant)
        if remembered.dimensions == dimensions:
            return
        if await records.read_other_lengths(shelf.documents, dimensions):
            raise InvalidMessage("the vectors' length differs from the tenant's", reason="embedding_mismatch")
        remembered.dimensions = dimensions

    async def _all_reached(self, scope: Scope, wanted: dict[str, int]) -> bool:
        async with self._trying():
            shelf = await self._layout.shelf(scope.tenant)
            there = await records.read_fences(shelf.documents, wanted.keys()) if shelf else {}
        fences = {key: record.fence for key, record in there.items() if scope.principals.may_read(record.fence.readers)}
        return all(key in fences and fences[key].target.version >= version for key, version in wanted.items())

    def _of(self, tenant: Tenant) -> Recollection:
        return self._recollections[digest(tenant.name)]

    @asynccontextmanager
    async def _turn(self, tenant: Tenant, document: str) -> AsyncIterator[None]:
        """Change a document by one task at a time; other processes are kept apart by the bus and by the fences."""
        turn = self._turns.setdefault((tenant.name, document), asyncio.Lock())
        async with turn:
            yield

    @asynccontextmanager
    async def _trying(self) -> AsyncIterator[None]:
        try:
            yield
        except Unavailable:  # what comes back may be another server, or an emptied one
            self._layout.forget()
            raise


async def _look(shelf: Shelf, document: str) -> tuple[DocumentRecords, bool]:
    """Return what is known of a document, and whether anything of it may lie about."""
    known, lying = await asyncio.gather(
        records.read_document(shelf.documents, document), chunks.exist(shelf.chunks, document)
    )
    return known, lying or bool(known.fences or known.parts)


def _record(fence: Fence, generation: str, before: DocumentRecords, *, dimensions: int, leftovers: bool) -> FenceRecord:
    revision = before.effective.revision + 1 if before.effective else 1
    return FenceRecord(fence, generation, revision, dimensions, untidy=leftovers)
