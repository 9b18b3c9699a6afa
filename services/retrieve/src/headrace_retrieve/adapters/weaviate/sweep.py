"""Removes what newer versions replaced: chunks, fences and parts, a while after the switch.

Every process may do it, and several at once: only what lies below a fence that stands is removed, by rules that have
the same result however often they are applied. What a killed process left is found again by a mark in the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, MutableMapping

from headrace_retrieve.adapters.weaviate import chunks, records
from headrace_retrieve.adapters.weaviate.layout import Layout, Shelf
from headrace_retrieve.adapters.weaviate.recollection import Recollection
from headrace_retrieve.adapters.weaviate.records import FenceRecord

LOOK_INTERVAL_S = 60.0
SWEPT_MAX = 200  # documents a turn


class Sweeper:
    """Goes over the tenants; `retained_s` after it first saw a fence it removes what that one replaced."""

    def __init__(
        self,
        layout: Layout,
        recollections: MutableMapping[str, Recollection],
        *,
        retained_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._layout, self._recollections, self._retained_s, self._clock = layout, recollections, retained_s, clock
        self._looked: float | None = None

    async def sweep(self) -> None:
        """Remove what is due; now and then look for what other processes left."""
        now = self._clock()
        if self._looked is None or now - self._looked > LOOK_INTERVAL_S:
            await self._look()
            self._looked = now
        left = SWEPT_MAX
        for tenant_key, remembered in list(self._recollections.items()):
            due = [one for one, since in remembered.untidy.values() if now - since >= self._retained_s][:left]
            left -= len(due)
            for record in due:
                await self._tidy(await self._layout.shelf_of_key(tenant_key), remembered, record)

    async def _look(self) -> None:
        for tenant_key in await self._layout.tenant_keys():
            shelf, remembered = await self._layout.shelf_of_key(tenant_key), self._recollections[tenant_key]
            for record in await records.read_untidy(shelf.documents):
                remembered.note_untidy(record, self._clock())

    async def _tidy(self, shelf: Shelf, remembered: Recollection, record: FenceRecord) -> None:
        known = await records.read_document(shelf.documents, record.fence.target.document)
        dead = [one.generation for one in known.fences if one.order < record.order and one.generation]
        before = record.fence.target.version + (1 if record.fence.deleted else 0)
        await chunks.remove(shelf.chunks, record.document_key, before, dead)
        await records.remove_before(shelf.documents, record, dead)
        remembered.removed(dead)
        remembered.untidy.pop(record.object_id, None)
