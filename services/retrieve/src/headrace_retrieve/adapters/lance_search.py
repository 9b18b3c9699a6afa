"""Reading one snapshot of a tenant's LanceDB table: two rankings, permissions first, and the count of a word."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from headrace_errors import Unavailable
from lancedb import AsyncTable

from headrace_retrieve.adapters.digests import digest
from headrace_retrieve.adapters.lance_table import Snapshot
from headrace_retrieve.adapters.rows import FOUND_COLUMNS, found_from, visible_to
from headrace_retrieve.domain import Candidate, Candidates, Query, Scope

QUERY_CHARS_MAX = 20_000  # above the largest question that is let in
PROBES = (
    40  # partitions of the vector index that a query reads: all of them, so exact, up to 160,000 rows at its making
)


async def search(snapshot: Snapshot, scope: Scope, query: Query) -> Candidates:
    """Rank by BM25 and by cosine, each over exactly the chunks that the scope may see."""
    try:
        lexical, vector = await asyncio.gather(
            _by_text(snapshot.table, scope, query), _by_vector(snapshot, scope, query)
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise Unavailable(f"the vector store did not answer: {type(error).__name__}") from error
    return Candidates(lexical, vector)


async def _by_text(table: AsyncTable, scope: Scope, query: Query) -> Sequence[Candidate]:
    words = query.text[:QUERY_CHARS_MAX]
    ranking = table.query().nearest_to_text(words, columns="text").where(visible_to(scope))
    rows = await ranking.select([*FOUND_COLUMNS, "_score"]).limit(query.candidates_max).to_list()
    return [Candidate(found_from(row), row["_score"]) for row in rows]


async def _by_vector(snapshot: Snapshot, scope: Scope, query: Query) -> Sequence[Candidate]:
    # vectors of another model are not comparable, so they are no candidates here
    if snapshot.dimensions != len(query.vector):
        return []
    comparable = f"{visible_to(scope)} AND model_key = '{digest(query.model)}'"
    nearest = snapshot.table.query().nearest_to(list(query.vector)).distance_type("cosine").nprobes(PROBES)
    ranking = nearest.where(comparable)
    rows = await ranking.select([*FOUND_COLUMNS, "_distance"]).limit(query.candidates_max).to_list()
    return [Candidate(found_from(row), 1.0 - row["_distance"]) for row in rows]


async def count(snapshot: Snapshot, chunks_total: int, word: str) -> tuple[str, int]:
    """Return a word's term and count; the term is empty for a stop word.

    Rows outside the index are scanned only while they are the larger part: a scan for each word costs too much beside
    a large index, and leaving out a fifth of the rows hardly moves an inverse document frequency.
    """
    table = snapshot.table
    tokens = [token.text for token in await table.tokenize(word, column="text")]
    if not tokens:
        return "", 0
    matches = table.query().nearest_to_text(word, columns="text").select(["_score"]).limit(max(chunks_total, 1))
    if snapshot.indexed_rows > snapshot.tail_rows:
        matches = matches.fast_search()
    return tokens[0], (await matches.to_arrow()).num_rows
