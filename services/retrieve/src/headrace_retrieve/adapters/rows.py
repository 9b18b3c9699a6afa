"""How chunks and fences lie in a LanceDB table, and back.

Names that come from outside (tenants, principals, documents) reach a filter only as hexadecimal digests, so no name
can change what a filter means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from headrace_retrieve.adapters.digests import digest
from headrace_retrieve.domain import (
    Chunk,
    DocumentVersion,
    Fence,
    Principals,
    Scope,
    StoredChunk,
    Tenant,
    VersionPart,
    object_id,
)

FOUND_COLUMNS = ["document", "version", "title", "chunk_id", "start", "end", "page", "text"]
FENCE_COLUMNS = ["document", "version", "model", "allow", "chunks", "deleted"]
_NAMES = pa.list_(pa.string())


def schema_of(dimensions: int) -> pa.Schema:
    """Return the table's schema. A fence is a row of its own kind and has no text."""
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("kind", pa.string(), nullable=False),
            pa.field("tenant_key", pa.string(), nullable=False),
            pa.field("document_key", pa.string(), nullable=False),
            pa.field("reader_keys", _NAMES),
            pa.field("model_key", pa.string()),
            pa.field("document", pa.string(), nullable=False),
            pa.field("version", pa.int32(), nullable=False),
            pa.field("title", pa.string()),
            pa.field("chunk_id", pa.string()),
            pa.field("start", pa.int32()),
            pa.field("end", pa.int32()),
            pa.field("page", pa.int32()),
            pa.field("text", pa.string()),
            pa.field("vector", pa.list_(pa.float32(), dimensions)),
            pa.field("model", pa.string()),
            pa.field("allow", _NAMES),
            pa.field("chunks", pa.int32()),
            pa.field("deleted", pa.bool_()),
        ]
    )


def dimensions_of(schema: pa.Schema) -> int:
    """Return how long the vectors of a table are."""
    return int(schema.field("vector").type.list_size)


def chunk_rows(part: VersionPart) -> pa.Table:
    """Lay out a part's chunks; the vectors are not copied."""
    count, chunks = len(part.chunks), part.chunks
    numbers = pa.Array.from_buffers(
        pa.float32(), count * part.vectors.dimensions, [None, pa.py_buffer(part.vectors.data)]
    )
    columns = {
        "id": [object_id(part, chunk) for chunk in chunks],
        "kind": ["chunk"] * count,
        "tenant_key": [digest(part.tenant.name)] * count,
        "document_key": [digest(part.target.document)] * count,
        "reader_keys": [[digest(name) for name in sorted(part.readers.names)]] * count,
        "model_key": [digest(part.model)] * count,
        "document": [part.target.document] * count,
        "version": [part.target.version] * count,
        "title": [part.title] * count,
        "chunk_id": [chunk.chunk_id for chunk in chunks],
        "start": [chunk.start for chunk in chunks],
        "end": [chunk.end for chunk in chunks],
        "page": [chunk.page for chunk in chunks],
        "text": [chunk.text for chunk in chunks],
        "vector": pa.FixedSizeListArray.from_arrays(numbers, part.vectors.dimensions),
    }
    return _table(columns, count, part.vectors.dimensions)


def fence_rows(tenant: Tenant, fences: Iterable[Fence], dimensions: int) -> pa.Table:
    """Lay out fences: one row a document, overwritten whenever the fence moves.

    Their vector is a placeholder that no query sees: LanceDB refuses to merge rows with and without vectors.
    """
    rows = list(fences)
    placeholder = [1.0] + [0.0] * (dimensions - 1)
    columns = {
        "id": [f"fence-{digest(fence.target.document)}" for fence in rows],
        "kind": ["fence"] * len(rows),
        "tenant_key": [digest(tenant.name)] * len(rows),
        "document_key": [digest(fence.target.document) for fence in rows],
        "document": [fence.target.document for fence in rows],
        "version": [fence.target.version for fence in rows],
        "model": [fence.model for fence in rows],
        "allow": [sorted(fence.readers.names) for fence in rows],
        "chunks": [fence.chunks for fence in rows],
        "deleted": [fence.deleted for fence in rows],
        "vector": [placeholder] * len(rows),
    }
    return _table(columns, len(rows), dimensions)


def fence_from(row: Mapping[str, Any]) -> Fence:
    """Read a fence row."""
    return Fence(
        target=DocumentVersion(row["document"], row["version"]),
        readers=Principals.of(*row["allow"]),
        model=row["model"],
        chunks=row["chunks"],
        deleted=row["deleted"],
    )


def found_from(row: Mapping[str, Any]) -> StoredChunk:
    """Read a chunk row."""
    chunk = Chunk(row["chunk_id"], row["start"], row["end"], row["text"], row["page"])
    return StoredChunk(DocumentVersion(row["document"], row["version"]), chunk, row["title"])


def visible_to(scope: Scope) -> str:
    """Return the filter that leaves exactly the chunks that the scope may see."""
    readers = ", ".join(f"'{digest(name)}'" for name in sorted(scope.principals.names))
    return f"kind = 'chunk' AND tenant_key = '{digest(scope.tenant.name)}' AND array_has_any(reader_keys, [{readers}])"


def chunks_of(documents: Iterable[str]) -> str:
    """Return the filter for all chunks of these documents."""
    keys = ", ".join(f"'{digest(document)}'" for document in documents)
    return f"kind = 'chunk' AND document_key IN ({keys})"


def _table(columns: Mapping[str, Any], count: int, dimensions: int) -> pa.Table:
    schema = schema_of(dimensions)
    arrays = [pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(count, f.type) for f in schema]
    return pa.Table.from_arrays(arrays, schema=schema)
