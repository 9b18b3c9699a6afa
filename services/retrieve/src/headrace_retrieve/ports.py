"""What retrieval needs from outside: a store of chunks, and vectors for queries. Adapters implement these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

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
    VersionPart,
)

Clock = Callable[[], float]
"""Seconds that only go forward."""


class VectorStore(Protocol):
    """Chunks of document versions, ranked by words and by vectors.

    Every promise here is a test in `tests/contract/test_vector_store.py`:

    - A query sees whole versions only: all chunks of a document's one version, or none; the switch from one version to
      the next is atomic, also over a kill. Both rankings of one call see the same state.
    - A write that returned survives a kill of the process; repeating it changes nothing.
    - Tenants share nothing, statistics of words included. Chunks without a common principal are left out before
      ranking, so that they take no place.
    - Facts older than a document's fence are dropped and reported as `stale`; a deletion leaves its fence.

    All methods raise Unavailable where the store does not answer; the same call may then be tried again.
    """

    async def write(self, part: VersionPart) -> Stored:
        """Keep a part durably; the last missing one makes the version searchable and removes the version before.

        Returns `indexed` (also for a repetition), `staged` while parts are missing, or `stale`. Raises InvalidMessage
        with the reason `embedding_mismatch` when the vectors' length is not that of the tenant's other vectors.
        """
        ...

    async def delete(self, deletion: Deletion) -> Stored:
        """Forget a document's versions up to this one; returns `deleted` (also for a repetition) or `stale`."""
        ...

    async def candidates(self, scope: Scope, query: Query) -> Candidates:
        """Return the best chunks by words and by vector that the scope may see; empty for an unknown tenant."""
        ...

    async def term_statistics(self, tenant: Tenant, text: str) -> TermStatistics:
        """Count in how many of the tenant's chunks the terms of `text` occur; all principals count, no other tenant.

        May leave out what was written in the last moments, from the counts and from the total alike.
        """
        ...

    async def fence(self, tenant: Tenant, document: str) -> Fence | None:
        """Return how far the store is with a document; None when it never heard of it."""
        ...

    async def reached(self, scope: Scope, targets: Sequence[DocumentVersion]) -> None:
        """Wait until queries see each target or a later version (a deletion is one). The caller bounds the wait.

        A document that the scope may not read is waited for like one that does not exist.
        """
        ...

    async def optimise(self) -> None:
        """Fold recent writes into the indexes where enough has gathered; cheap when there is nothing to do."""
        ...

    async def close(self) -> None:
        """Let go of files; writes that did not return yet are lost or whole."""
        ...


@dataclass(frozen=True, slots=True)
class EmbeddedQuery:
    """A query's vector of length 1, the exact model that made it, and the tokens it cost."""

    vector: Sequence[float]
    model: str
    tokens: int


class QueryEmbedder(Protocol):
    """Vectors for queries, before bulk work."""

    async def __call__(self, text: str, /) -> EmbeddedQuery:
        """Embed one query; Unavailable or DeadlineExceeded when no vector can be had in time."""
        ...
