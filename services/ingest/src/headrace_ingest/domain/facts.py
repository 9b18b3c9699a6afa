"""What ingest tells the others, free of any encoding: statuses, chunks, deletions, decisions for the audit record."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from headrace_ingest.domain.chunking import ChunkedDocument, page_of
from headrace_ingest.domain.documents import DocumentVersion

_CHUNK_IDS = uuid.UUID("5b9a1f0e-5f0e-5d6a-9c55-1e0d8d2f6f3c")  # any fixed one: chunk ids count only among themselves


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """A version stands where it says now."""

    version: DocumentVersion


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk as every later stage needs it: `text` is exactly the stored text's `start:end`."""

    chunk_id: str
    ordinal: int
    start: int
    end: int
    text: str
    page: int
    tokens: int


@dataclass(frozen=True, slots=True)
class ChunksCreated:
    """One part of a version's chunks; parts count from 0."""

    version: DocumentVersion
    chunks: tuple[Chunk, ...]
    part: int
    parts: int


@dataclass(frozen=True, slots=True)
class DocumentDeleted:
    """The document is to be forgotten, as of this version."""

    version: DocumentVersion


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision for the audit record: a dotted fact, and ids and counts about it.

    `of` tells decisions of one kind about one version apart.
    """

    action: str
    version: DocumentVersion
    disposition: str = "allowed"
    of: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


Fact = StatusChanged | ChunksCreated | DocumentDeleted | Decided


def chunk_parts(version: DocumentVersion, result: ChunkedDocument, *, part_chunks_max: int) -> Iterator[ChunksCreated]:
    """Yield a version's chunks in parts of bounded size, in order. There is at least one part."""
    spans = result.spans
    parts = max(1, -(-len(spans) // part_chunks_max))
    for part in range(parts):
        first = part * part_chunks_max
        ordinals = range(first, min(first + part_chunks_max, len(spans)))
        yield ChunksCreated(version, tuple(_chunk(version, result, ordinal) for ordinal in ordinals), part, parts)


def _chunk(version: DocumentVersion, result: ChunkedDocument, ordinal: int) -> Chunk:
    span = result.spans[ordinal]
    name = "\n".join((version.tenant, version.document, version.text_sha256, str(ordinal)))
    return Chunk(
        chunk_id=str(uuid.uuid5(_CHUNK_IDS, name)),
        ordinal=ordinal,
        start=span.start,
        end=span.end,
        text=result.document.text[span.start : span.end],
        page=page_of(result.document.pages, span.start),
        tokens=span.tokens,
    )
