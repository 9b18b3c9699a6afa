"""The fences of one tenant in memory, and those who wait for them. Durability is the store's matter."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from headrace_retrieve.domain import DocumentVersion, Fence, Principals


class Fences:
    """A map from document to fence that can be waited on; used from one event loop."""

    def __init__(self, fences: Iterable[Fence] = ()) -> None:
        self._by_document: dict[str, Fence] = {}
        self._changed = asyncio.Event()
        self.chunks_total = 0
        """Searchable chunks of all documents."""
        self.record(fences)

    def get(self, document: str) -> Fence | None:
        """Return a document's fence."""
        return self._by_document.get(document)

    def all(self) -> list[Fence]:
        """Return every document's fence."""
        return list(self._by_document.values())

    def record(self, fences: Iterable[Fence]) -> None:
        """Move fences and wake whoever waits; call it once queries see the change."""
        for fence in fences:
            before = self._by_document.get(fence.target.document)
            self.chunks_total += fence.chunks - (before.chunks if before else 0)
            self._by_document[fence.target.document] = fence
        self._changed.set()
        self._changed = asyncio.Event()

    async def reached(self, principals: Principals, targets: Sequence[DocumentVersion]) -> None:
        """Wait until every target, or a later version, is there and readable by one of the principals."""
        while not all(self._has(principals, target) for target in targets):
            await self._changed.wait()

    def _has(self, principals: Principals, target: DocumentVersion) -> bool:
        fence = self._by_document.get(target.document)
        return fence is not None and fence.target.version >= target.version and principals.may_read(fence.readers)
