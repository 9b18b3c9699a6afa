"""What one process remembers of a tenant. All of it may be lost or out of date: it saves work and decides nothing."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Collection as Keys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from headrace_retrieve.adapters.term_counts import TermCounts
from headrace_retrieve.adapters.weaviate.records import FenceRecord

HIDDEN_MAX = 500  # a filter that leaves them out costs about 10 us each
FENCES_MAX = 50_000
UNTIDY_MAX = 10_000

Token = tuple[str, int]
"""What is visible of a document: a generation and its revision."""


@dataclass(slots=True)
class Recollection:
    """One tenant's."""

    counts: TermCounts = field(default_factory=TermCounts)
    dimensions: int | None = None
    """The length of the tenant's vectors."""
    untidy: OrderedDict[UUID, tuple[FenceRecord, float]] = field(default_factory=OrderedDict)
    """Fences whose predecessors are to be removed, and when each was first seen."""
    _hidden: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _fences: OrderedDict[str, tuple[Token, float]] = field(default_factory=OrderedDict)
    _waiting: defaultdict[str, set[asyncio.Event]] = field(default_factory=lambda: defaultdict(set))

    @property
    def hidden(self) -> set[str]:
        """Generations that were replaced and may still lie in the store. One that was replaced never comes back."""
        return set(self._hidden)

    def hide(self, replaced: Iterable[str]) -> None:
        """Leave these out of rankings and counts."""
        self._hidden.update(dict.fromkeys(generation for generation in replaced if generation))
        while len(self._hidden) > HIDDEN_MAX:
            self._hidden.popitem(last=False)

    def removed(self, generations: Iterable[str]) -> None:
        """Leave these out no longer: nothing of them lies in the store."""
        for generation in generations:
            self._hidden.pop(generation, None)

    def note_untidy(self, record: FenceRecord, now: float) -> None:
        """Have what this fence replaced removed later."""
        self.untidy.setdefault(record.object_id, (record, now))
        while len(self.untidy) > UNTIDY_MAX:  # the store knows them too
            self.untidy.popitem(last=False)

    def note_fences(self, fences: Mapping[str, FenceRecord], now: float) -> None:
        """Remember fences read just now; one that did not move keeps the time at which it was first seen."""
        for key, record in fences.items():
            token = token_of(record)
            if (before := self._fences.get(key)) is None or before[0] != token:
                self._fences[key] = token, now
            self._fences.move_to_end(key)
        while len(self._fences) > FENCES_MAX:
            self._fences.popitem(last=False)

    def unmoved(self, fences: Mapping[str, FenceRecord], since: float) -> set[str]:
        """Return the documents of `fences` that were seen with the same fence before `since`."""
        seen = {key: self._fences[key] for key in fences if key in self._fences}
        return {key for key, (token, first) in seen.items() if token == token_of(fences[key]) and first < since}

    @contextmanager
    def watching(self, document_keys: Keys[str]) -> Iterator[asyncio.Event]:
        """Lend an event that is set when one of these documents moves in this process."""
        moved = asyncio.Event()
        for key in document_keys:
            self._waiting[key].add(moved)
        try:
            yield moved
        finally:
            for key in document_keys:
                self._waiting[key].discard(moved)
                if not self._waiting[key]:
                    del self._waiting[key]

    def moved(self, document_key: str) -> None:
        """Wake those who wait for this document."""
        for event in self._waiting.get(document_key, ()):
            event.set()


def token_of(record: FenceRecord) -> Token:
    """Return what is visible of the document under this fence."""
    return record.generation, record.revision
