"""A vector store in memory that keeps every promise of the port but durability: for tests and for reading.

Words are compared lower-cased and unstemmed; nothing is approximate. It is no store for production: all work runs on
the event loop.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from headrace_errors import InvalidMessage

from headrace_retrieve.adapters.fences import Fences
from headrace_retrieve.domain import (
    Candidate,
    Candidates,
    Deletion,
    DocumentVersion,
    Fence,
    Principals,
    Query,
    Scope,
    Stored,
    StoredChunk,
    Tenant,
    TermStatistics,
    Verdict,
    VersionPart,
    judge,
    object_id,
)

_K1, _B = 1.2, 0.75  # Robertson and Zaragoza, 2009; the values LanceDB uses


@dataclass(frozen=True, slots=True)
class _Row:
    stored: StoredChunk
    readers: Principals
    model: str
    vector: memoryview[float]
    terms: Counter[str]


@dataclass(slots=True)
class _TenantMemory:
    rows: dict[str, _Row] = field(default_factory=dict)
    fences: Fences = field(default_factory=Fences)
    parts: dict[tuple[DocumentVersion, str, int], dict[int, VersionPart]] = field(default_factory=dict)
    dimensions: int | None = None


class FakeVectorStore:
    """Implements `VectorStore` on dictionaries."""

    def __init__(self) -> None:
        self._tenants: dict[str, _TenantMemory] = defaultdict(_TenantMemory)

    async def write(self, part: VersionPart) -> Stored:
        """See the port."""
        memory = self._tenants[part.tenant.name]
        verdict = judge(memory.fences.get(part.target.document), part.target, part.model, deleted=False)
        if verdict is Verdict.STALE:
            return Stored("stale")
        if part.chunks and (memory.dimensions or part.vectors.dimensions) != part.vectors.dimensions and memory.rows:
            raise InvalidMessage("the vectors' length differs from the tenant's", reason="embedding_mismatch")
        if verdict is Verdict.REPEAT:
            return _repeated(part, memory)
        gathered = memory.parts.setdefault((part.target, part.model, part.parts), {})
        gathered[part.part] = part
        if len(gathered) < part.parts:
            return Stored("staged")
        memory.dimensions = part.vectors.dimensions
        rows = {key: row for one in gathered.values() for key, row in _rows_of(one)}
        return self._switch(memory, Fence(part.target, part.readers, part.model, len(rows)), rows)

    async def delete(self, deletion: Deletion) -> Stored:
        """See the port."""
        memory = self._tenants[deletion.tenant.name]
        verdict = judge(memory.fences.get(deletion.target.document), deletion.target, "", deleted=True)
        if verdict is Verdict.STALE:
            return Stored("stale")
        return self._switch(memory, Fence(deletion.target, deletion.readers, "", 0, deleted=True), {})

    def _switch(self, memory: _TenantMemory, fence: Fence, rows: dict[str, _Row]) -> Stored:
        document = fence.target.document
        kept = {key: row for key, row in memory.rows.items() if row.stored.target.document != document}
        memory.rows = kept | rows
        memory.parts = {key: value for key, value in memory.parts.items() if not _overtaken(key[0], fence.target)}
        memory.fences.record([fence])
        return Stored("deleted" if fence.deleted else "indexed", len(rows))

    async def candidates(self, scope: Scope, query: Query) -> Candidates:
        """See the port."""
        everything = self._tenants[scope.tenant.name].rows.values()
        seen = [row for row in everything if scope.principals.may_read(row.readers)]
        comparable = [row for row in seen if row.model == query.model]
        return Candidates(
            lexical=_best(seen, _bm25(query.text, everything), query.candidates_max, above=0.0),
            vector=_best(comparable, lambda row: _dot(row.vector, query.vector), query.candidates_max),
        )

    async def term_statistics(self, tenant: Tenant, text: str) -> TermStatistics:
        """See the port."""
        rows = self._tenants[tenant.name].rows.values()
        return TermStatistics({term: sum(term in row.terms for row in rows) for term in _terms(text)}, len(rows))

    async def fence(self, tenant: Tenant, document: str) -> Fence | None:
        """See the port."""
        return self._tenants[tenant.name].fences.get(document)

    async def reached(self, scope: Scope, targets: Sequence[DocumentVersion]) -> None:
        """See the port."""
        await self._tenants[scope.tenant.name].fences.reached(scope.principals, targets)

    async def optimise(self) -> None:
        """Nothing to fold."""

    async def close(self) -> None:
        """Nothing to let go of."""


def _repeated(part: VersionPart, memory: _TenantMemory) -> Stored:
    fence = memory.fences.get(part.target.document)
    last = part.part == part.parts - 1
    return Stored("indexed", fence.chunks if fence else 0) if last else Stored("staged")


def _rows_of(part: VersionPart) -> Iterable[tuple[str, _Row]]:
    for index, chunk in enumerate(part.chunks):
        stored = StoredChunk(part.target, chunk, part.title)
        terms = Counter(_terms(chunk.text))
        yield object_id(part, chunk), _Row(stored, part.readers, part.model, part.vectors.row(index), terms)


def _overtaken(staged: DocumentVersion, reached: DocumentVersion) -> bool:
    return staged.document == reached.document and staged.version <= reached.version


def _terms(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _bm25(text: str, rows: Iterable[_Row]) -> Callable[[_Row], float]:
    corpus = list(rows)
    average = sum(row.terms.total() for row in corpus) / max(len(corpus), 1)
    weights = {}
    for term in set(_terms(text)):
        holding = sum(term in row.terms for row in corpus)
        weights[term] = math.log(1 + (len(corpus) - holding + 0.5) / (holding + 0.5))

    def score(row: _Row) -> float:
        norm = _K1 * (1 - _B + _B * row.terms.total() / average) if average else _K1
        return sum(w * row.terms[t] * (_K1 + 1) / (row.terms[t] + norm) for t, w in weights.items() if row.terms[t])

    return score


def _best(
    rows: Sequence[_Row], score: Callable[[_Row], float], count: int, *, above: float = -math.inf
) -> tuple[Candidate, ...]:
    scored = [(score(row), row) for row in rows]
    scored.sort(key=lambda pair: (-pair[0], pair[1].stored.chunk.chunk_id))
    return tuple(Candidate(row.stored, value) for value, row in scored[:count] if value > above)


def _dot(one: Iterable[float], other: Iterable[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
