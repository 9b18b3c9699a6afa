"""One state of the store for both rankings of a query, although Weaviate has no snapshots.

Three rules of the writers make it possible: a version's chunks are all there before its fence is added; the chunks
that it replaced stay for `RETAINED_S` afterwards; a fence is never taken back. A reader ranks first, then reads the
fences of what it found. A fence that is known to have stood before the ranking began settles its document: all chunks
of that version were there, and those of other versions are dropped. Where a fence is new to the reader, it ranks once
more, knowing it. So a query sees for each document one version, whole, that was current after the query began.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from headrace_errors import Unavailable

from headrace_retrieve.adapters.weaviate import chunks
from headrace_retrieve.adapters.weaviate.layout import Shelf
from headrace_retrieve.adapters.weaviate.recollection import Recollection
from headrace_retrieve.adapters.weaviate.records import read_fences
from headrace_retrieve.domain import Candidates, Query, Scope

RETAINED_S = 30.0
SNAPSHOT_S_MAX = 10.0  # well below: all of one round's calls lie within
ROUNDS_MAX = 8

Ranking = Sequence[chunks.Found]


async def search(
    shelf: Shelf, scope: Scope, query: Query, *, recollection: Recollection, vectors: bool, clock: Callable[[], float]
) -> Candidates:
    """Rank by words, and by `vectors` where the model has any; Unavailable when documents move faster than it reads."""
    hidden, known, began = recollection.hidden, dict[str, str](), clock()
    for _ in range(ROUNDS_MAX):
        ranking_began = clock()
        rankings = await _rank(shelf, scope, query, hidden, vectors=vectors)
        documents = {one.document_key for ranking in rankings for one in ranking}
        fences = await read_fences(shelf.documents, documents)
        if clock() - began > SNAPSHOT_S_MAX:  # what was known may be gone by now
            hidden, known, began = recollection.hidden, {}, clock()
            continue
        unmoved = recollection.unmoved(fences, ranking_began)
        recollection.note_fences(fences, clock())
        # without a fence nothing of the document was ever complete
        settled = documents - fences.keys() | unmoved | known.keys()
        known = {key: record.generation for key, record in fences.items()} | known
        visible = [[one for one in ranking if known.get(one.document_key) == one.generation] for ranking in rankings]
        if documents <= settled and not _short(rankings, visible, query.candidates_max):
            return Candidates(*([one.candidate for one in ranking] for ranking in visible))
        found = {one.generation for ranking in rankings for one in ranking}
        hidden = hidden | (found - set(known.values()))
    raise Unavailable("documents change faster than they can be searched")


async def _rank(shelf: Shelf, scope: Scope, query: Query, hidden: set[str], *, vectors: bool) -> Sequence[Ranking]:
    ranked = [chunks.by_text(shelf.chunks, scope, query, hidden)]
    if vectors:
        ranked.append(chunks.by_vector(shelf.chunks, scope, query, hidden))
    return await asyncio.gather(*ranked)


def _short(rankings: Sequence[Ranking], visible: Sequence[Ranking], candidates_max: int) -> bool:
    """Whether chunks that are not to be seen took places of others."""
    return any(
        len(ranking) == candidates_max and len(seen) < candidates_max
        for ranking, seen in zip(rankings, visible, strict=True)
    )
