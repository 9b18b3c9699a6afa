"""One tenant's LanceDB table: atomic commits of whole document versions, and snapshots to read from.

A reader works on a handle that stays at the version it was opened at, so both rankings of a query see one state, and a
commit shows up whole in the next handle. Which parts make up a version, and how callers share commits, is decided in
`lance_store.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import pyarrow as pa
from headrace_errors import InvalidMessage, Unavailable
from lancedb import AsyncConnection, AsyncTable
from lancedb.index import FTS, IvfFlat

from headrace_retrieve.adapters.digests import digest
from headrace_retrieve.adapters.fences import Fences
from headrace_retrieve.adapters.rows import (
    FENCE_COLUMNS,
    chunks_of,
    dimensions_of,
    fence_from,
    fence_rows,
)
from headrace_retrieve.domain import Fence, Stored, Tenant, Verdict, judge

TEXT_INDEX = "text_idx"
VECTOR_INDEX = "vector_idx"
ROWS_PER_PARTITION = 4_096
# Measured on XQuAD (nDCG@10 of BM25 alone, 632 questions): stemmed without stop words .974, neither .966.
TEXT_ANALYSIS = FTS(stem=True, remove_stop_words=True, ascii_folding=True, base_tokenizer="simple")


@dataclass(frozen=True, slots=True)
class Upkeep:
    """When a table is rewritten so that queries stay fast; rewriting costs about 30 us a row.

    Rows outside the index are still found, by a scan of about 20 us a row and query. They are folded in while writing
    when they pass `tail_rows_min` and a share `tail_share_max` of the table, so the cost of loading stays linear.
    """

    tail_rows_min: int = 2_000
    tail_share_max: float = 0.2
    idle_tail_rows_min: int = 256
    idle_tail_share_max: float = 0.02
    vector_index_rows_min: int = 20_000  # at 100,000 rows of 384 a query's CPU falls from 236 to 83 ms
    retention_s: float = 120.0  # superseded files stay this long for the queries that still read them


@dataclass(frozen=True, slots=True)
class Change:
    """A document's next state: its fence, and its rows unless it is deleted."""

    fence: Fence
    rows: pa.Table | None

    @property
    def size_bytes(self) -> int:
        """What the change weighs in memory."""
        return 0 if self.rows is None else int(self.rows.nbytes)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A table at one version, and how many of its rows the text index covers or leaves to a scan."""

    table: AsyncTable
    dimensions: int
    indexed_rows: int
    tail_rows: int


class TenantTable:
    """The table of one tenant, made with its first write. Commits must not overlap; reading needs no turn."""

    def __init__(
        self, connection: AsyncConnection, tenant: Tenant, upkeep: Upkeep, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._connection, self._tenant, self._upkeep, self._clock = connection, tenant, upkeep, clock
        self._name = f"tenant-{digest(tenant.name)}"
        self._writer: AsyncTable | None = None
        self._in_doubt = False
        self._untidy_since: float | None = None
        self.snapshot: Snapshot | None = None
        self.fences = Fences()

    async def open(self) -> None:
        """Read the fences of an existing table; a tenant without one stays empty."""
        if self._name not in await _table_names(self._connection):
            return
        self._writer = await self._connection.open_table(self._name)
        if TEXT_INDEX not in await self._indices():  # killed between the table and its index
            await self._writer.create_index("text", config=TEXT_ANALYSIS, name=TEXT_INDEX)
        rows = await self._writer.query().where("kind = 'fence'").select(FENCE_COLUMNS).to_list()
        self.fences.record(fence_from(row) for row in rows)
        await self._show()

    async def require(self, dimensions: int) -> None:
        """Raise InvalidMessage `embedding_mismatch` unless vectors of this length can stand beside the tenant's."""
        if self._writer is None or not self.fences.chunks_total:
            return
        if dimensions_of(await self._writer.schema()) != dimensions:
            raise InvalidMessage("the vectors' length differs from the tenant's", reason="embedding_mismatch")

    async def commit(self, changes: Sequence[Change]) -> list[Stored]:
        """Apply what the fences let through in one commit of the table, or nothing; raises Unavailable then."""
        if self._in_doubt:
            await self._resolve_doubt()
        stored, admitted = self._admit(changes)
        if admitted:
            try:
                await self._apply(admitted)
                await self._show()
            except Exception as error:
                self._in_doubt = True
                raise Unavailable(f"the vector store did not commit: {type(error).__name__}") from error
            self.fences.record(change.fence for change in admitted.values())
            self._untidy_since = self._clock()
        return stored

    async def fold(self, *, idle: bool) -> None:
        """Bring recent rows into the indexes and drop superseded files, if enough has gathered (see `Upkeep`)."""
        upkeep, seen = self._upkeep, self.snapshot
        if self._writer is None or seen is None or self._untidy_since is None:
            return
        quiet = idle and self._clock() - self._untidy_since > upkeep.retention_s
        rows_min = upkeep.idle_tail_rows_min if idle else upkeep.tail_rows_min
        share_max = upkeep.idle_tail_share_max if idle else upkeep.tail_share_max
        if quiet or seen.tail_rows >= max(rows_min, share_max * seen.indexed_rows):
            await self._writer.optimize(cleanup_older_than=timedelta(seconds=upkeep.retention_s))
            await self._index_vectors()
            await self._show()
            self._untidy_since = None if quiet else self._untidy_since

    def _admit(self, changes: Sequence[Change]) -> tuple[list[Stored], dict[str, Change]]:
        """Judge changes in order; of several to one document in this group the last one that counts is applied."""
        stored, admitted = [], dict[str, Change]()
        for change in changes:
            document, fence = change.fence.target.document, change.fence
            before = admitted[document].fence if document in admitted else self.fences.get(document)
            verdict = judge(before, fence.target, fence.model, deleted=fence.deleted)
            if verdict in {Verdict.NEW, Verdict.REPLACE}:
                admitted[document] = change
            stored.append(_stored(verdict, fence if verdict is not Verdict.REPEAT else before or fence))
        return stored, admitted

    async def _apply(self, admitted: Mapping[str, Change]) -> None:
        rows = [change.rows for change in admitted.values() if change.rows is not None]
        table = await self._table_for({dimensions_of(one.schema) for one in rows})
        dimensions = dimensions_of(await table.schema())
        batch = pa.concat_tables([*rows, fence_rows(self._tenant, [c.fence for c in admitted.values()], dimensions)])
        if any(self.fences.get(document) for document in admitted):
            await self._replace(table, batch, admitted)
        else:  # thirty times cheaper than looking for rows to replace, and there are none: the fences say so
            await table.add(batch)

    async def _replace(self, table: AsyncTable, batch: pa.Table, documents: Mapping[str, Change]) -> None:
        merge = table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        await merge.when_not_matched_by_source_delete(chunks_of(documents)).execute(batch)

    async def _table_for(self, wanted: set[int]) -> AsyncTable:
        """Return the table for vectors of this length; one that holds no chunk may still change its length."""
        if self._writer is None:
            return await self._create(wanted.pop() if wanted else 1, mode="create")
        if wanted <= {dimensions_of(await self._writer.schema())} or self.fences.chunks_total:
            return self._writer
        return await self._create(wanted.pop(), mode="overwrite")

    async def _create(self, dimensions: int, *, mode: Literal["create", "overwrite"]) -> AsyncTable:
        fences = fence_rows(self._tenant, self.fences.all(), dimensions)
        table = await self._connection.create_table(self._name, fences, mode=mode)
        await table.create_index("text", config=TEXT_ANALYSIS, name=TEXT_INDEX)
        self._writer = table
        return table

    async def _show(self) -> None:
        """Let queries see what was committed."""
        table = await self._connection.open_table(self._name)
        stats = await table.index_stats(TEXT_INDEX)
        indexed, tail = (stats.num_indexed_rows, stats.num_unindexed_rows) if stats else (0, await table.count_rows())
        self.snapshot = Snapshot(table, dimensions_of(await table.schema()), indexed, tail)

    async def _index_vectors(self) -> None:
        if self._writer is None or self.fences.chunks_total < self._upkeep.vector_index_rows_min:
            return
        if VECTOR_INDEX not in await self._indices():
            partitions = max(1, self.fences.chunks_total // ROWS_PER_PARTITION)
            config = IvfFlat(distance_type="cosine", num_partitions=partitions)
            await self._writer.create_index("vector", config=config, name=VECTOR_INDEX)

    async def _indices(self) -> set[str]:
        return {index.name for index in await self._writer.list_indices()} if self._writer else set()

    async def _resolve_doubt(self) -> None:
        """After a failed commit nobody knows whether it happened: read the fences again."""
        self._writer = None
        await self.open()
        self._in_doubt = False


def _stored(verdict: Verdict, fence: Fence) -> Stored:
    if verdict is Verdict.STALE:
        return Stored("stale")
    return Stored("deleted") if fence.deleted else Stored("indexed", fence.chunks)


async def _table_names(connection: AsyncConnection) -> set[str]:
    names: set[str] = set()
    page = None
    while True:
        answer = await connection.list_tables(page_token=page)
        names.update(answer.tables)
        page = answer.page_token
        if not page:
            return names
