"""How chunks lie in Weaviate, and the two rankings of them, the permission filter before both.

What these find may not be a query's to see: which version counts is decided in `snapshot.py`. Names that come from
outside reach a filter only as hexadecimal digests, so none can change its meaning.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection as Keys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from headrace_errors import Unavailable
from weaviate.classes.data import DataObject
from weaviate.classes.query import Filter, MetadataQuery

from headrace_retrieve.adapters.digests import digest
from headrace_retrieve.adapters.weaviate.connection import BULK_TIMEOUT_S, exchange
from headrace_retrieve.adapters.weaviate.layout import STOP_WORDS, Collection, vector_name
from headrace_retrieve.domain import (
    Candidate,
    Chunk,
    DocumentVersion,
    Query,
    Scope,
    StoredChunk,
    VersionPart,
    object_id,
)

BATCH_CHUNKS_MAX = 256  # 400 kB of vectors of 384, and about as much text
OBJECT_TRIES_MAX = 3
QUERY_CHARS_MAX = 20_000  # above the largest question that is let in
RETRY_S = 0.2
_FOUND = ["document_key", "generation", "document", "version", "title", "chunk_id", "start", "end", "page", "text"]


@dataclass(frozen=True, slots=True)
class Found:
    """A chunk in a ranking, and the generation that it belongs to."""

    candidate: Candidate
    document_key: str
    generation: str


async def insert(chunks: Collection, part: VersionPart, generation: str, *, retry_s: float = RETRY_S) -> None:
    """Write a part's chunks, those that were there already too; Unavailable when one of them was not taken."""
    objects = [_object(part, index, generation) for index in range(len(part.chunks))]
    for first in range(0, len(objects), BATCH_CHUNKS_MAX):
        await _insert_batch(chunks, objects[first : first + BATCH_CHUNKS_MAX], retry_s)


async def _insert_batch(chunks: Collection, batch: list[DataObject[Any, Any]], retry_s: float) -> None:
    """Insert, and again what is not there: Weaviate answers for each object, but an answer is no proof.

    1.35.2 was seen to lose objects that it had acknowledged while a named vector was added, in about one of 70 tries.
    """
    for attempt in range(OBJECT_TRIES_MAX):
        await asyncio.sleep(retry_s * attempt)
        await exchange(chunks.data.insert_many(batch), timeout_s=BULK_TIMEOUT_S)
        there = await _there(chunks, [one.uuid for one in batch])
        batch = [one for one in batch if str(one.uuid) not in there]
        if not batch:
            return
    raise Unavailable(f"Weaviate did not take {len(batch)} chunks")


async def _there(chunks: Collection, ids: list[Any]) -> set[str]:
    """Return which of these objects can be read."""
    reading = chunks.query.fetch_objects_by_ids(ids, limit=len(ids), return_properties=["version"])
    return {str(one.uuid) for one in (await exchange(reading)).objects}


async def exist(chunks: Collection, document: str) -> bool:
    """Whether chunks of the document are there, of whatever version."""
    these = Filter.by_property("document_key").equal(digest(document))
    answer = await exchange(chunks.query.fetch_objects(filters=these, limit=1, return_properties=["version"]))
    return bool(answer.objects)


async def remove(chunks: Collection, document_key: str, before_version: int, generations: Sequence[str]) -> None:
    """Delete a document's chunks of versions below `before_version`, and those of these generations."""
    gone = Filter.by_property("version").less_than(before_version)
    if generations:
        gone = gone | Filter.by_property("generation").contains_any(list(generations))
    which = Filter.by_property("document_key").equal(document_key) & gone
    while True:  # a call deletes up to 10,000, and each leaves fewer
        deleted = await exchange(chunks.data.delete_many(which), timeout_s=BULK_TIMEOUT_S)
        if deleted.failed:
            raise Unavailable(f"Weaviate did not delete {deleted.failed} chunks")
        if not deleted.successful:
            return


async def by_text(chunks: Collection, scope: Scope, query: Query, hidden: Keys[str]) -> list[Found]:
    """Rank by BM25."""
    words = query.text[:QUERY_CHARS_MAX]
    if not words.strip():
        return []
    ranking = chunks.query.bm25(
        words,
        query_properties=["text"],
        filters=_visible(scope, hidden),
        limit=query.candidates_max,
        return_properties=_FOUND,
        return_metadata=MetadataQuery(score=True),
    )
    answer = await exchange(ranking)
    return _ordered([_found(one.properties, one.metadata.score or 0.0) for one in answer.objects])


async def by_vector(chunks: Collection, scope: Scope, query: Query, hidden: Keys[str]) -> list[Found]:
    """Rank by cosine those chunks whose vectors the query's model made."""
    ranking = chunks.query.near_vector(
        list(query.vector),
        target_vector=vector_name(query.model, len(query.vector)),
        filters=_visible(scope, hidden),
        limit=query.candidates_max,
        return_properties=_FOUND,
        return_metadata=MetadataQuery(distance=True),
    )
    answer = await exchange(ranking)
    return _ordered([_found(one.properties, 1.0 - (one.metadata.distance or 0.0)) for one in answer.objects])


async def count(chunks: Collection, hidden: Keys[str]) -> int:
    """Count chunks but those of hidden generations."""
    everything = await _count(chunks, None)
    return everything - (await _count(chunks, _of(hidden)) if hidden else 0)


async def count_word(chunks: Collection, hidden: Keys[str], word: str) -> tuple[str, int]:
    """Return a word's term and in how many chunks it is; the term is empty for a stop word.

    Weaviate reads every object that it counts under a filter: about 30 us a chunk that holds the word.
    """
    term = "".join(character for character in word if character.isalnum())
    if not term or term in STOP_WORDS:
        return "", 0
    holding = Filter.by_property("text").equal(term)
    return term, await _count(chunks, holding & _not_of(hidden) if hidden else holding)


async def _count(chunks: Collection, which: Any) -> int:
    return (await exchange(chunks.aggregate.over_all(filters=which, total_count=True))).total_count or 0


def _object(part: VersionPart, index: int, generation: str) -> DataObject[Any, Any]:
    chunk = part.chunks[index]
    row = {
        "text": chunk.text,
        "document_key": digest(part.target.document),
        "generation": generation,
        "reader_keys": [digest(name) for name in sorted(part.readers.names)],
        "version": part.target.version,
        "document": part.target.document,
        "title": part.title,
        "chunk_id": chunk.chunk_id,
        "start": chunk.start,
        "end": chunk.end,
        "page": chunk.page,
    }
    # two versions of a document lie side by side during a switch, also where they share chunks
    identity = uuid5(UUID(object_id(part, chunk)), generation)
    vector = {vector_name(part.model, part.vectors.dimensions): list(part.vectors.row(index))}
    return DataObject(properties=row, uuid=identity, vector=vector)


def _visible(scope: Scope, hidden: Keys[str]) -> Any:
    readers = Filter.by_property("reader_keys").contains_any([digest(name) for name in sorted(scope.principals.names)])
    return readers & _not_of(hidden) if hidden else readers


def _of(generations: Keys[str]) -> Any:
    return Filter.by_property("generation").contains_any(sorted(generations))


def _not_of(generations: Keys[str]) -> Any:
    return Filter.by_property("generation").contains_none(sorted(generations))


def _found(row: Mapping[str, Any], score: float) -> Found:
    chunk = Chunk(row["chunk_id"], row["start"], row["end"], row["text"], row["page"])
    stored = StoredChunk(DocumentVersion(row["document"], row["version"]), chunk, row["title"])
    return Found(Candidate(stored, score), row["document_key"], row["generation"])


def _ordered(ranking: list[Found]) -> list[Found]:
    """Order equal scores by chunk id, so that the same chunks always give the same answer."""
    return sorted(ranking, key=lambda one: (-one.candidate.score, one.candidate.found.chunk.chunk_id))
