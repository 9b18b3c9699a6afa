"""Between the contracts' messages and this service's values, the same on the bus and over gRPC."""

from __future__ import annotations

import struct

from headrace.embed.v1 import events_pb2 as embed_pb2
from headrace.ingest.v1 import events_pb2 as ingest_pb2
from headrace.retrieve.v1 import events_pb2 as retrieve_pb2
from headrace_errors import InvalidMessage

from headrace_retrieve.domain import (
    Chunk,
    Deletion,
    DocumentVersion,
    Hit,
    Principals,
    Tenant,
    Vectors,
    VersionPart,
)


def part_from(tenant: str, message: embed_pb2.ChunksEmbedded) -> VersionPart:
    """Read an embedded part; InvalidMessage where it contradicts itself."""
    part = message.part
    return VersionPart(
        tenant=Tenant(tenant),
        readers=Principals.of(*part.document.allow),
        target=_target(part.document),
        model=model_name(message.model),
        chunks=[Chunk(one.chunk_id, one.start, one.end, one.text, one.page) for one in part.chunks],
        vectors=vectors_from(message.vectors),
        title=part.document.title,
        part=part.part,
        parts=max(part.parts, 1),
    )


def deletion_from(tenant: str, message: embed_pb2.ChunksEmbedded) -> Deletion:
    """Read a deletion that embed passed on."""
    document = message.part.document
    return Deletion(Tenant(tenant), Principals.of(*document.allow), _target(document))


def vectors_from(message: embed_pb2.Vectors) -> Vectors:
    """Read packed vectors; half precision is widened. No rows are no vectors of some length."""
    if not message.rows:
        return Vectors(b"", max(message.dimensions, 1))
    match message.dtype:
        case embed_pb2.DTYPE_FLOAT32:
            data = message.data
        case embed_pb2.DTYPE_FLOAT16 if len(message.data) % 2 == 0:
            count = len(message.data) // 2
            data = struct.pack(f"<{count}f", *struct.unpack(f"<{count}e", message.data))
        case _:
            raise InvalidMessage("the vectors are packed in an unknown way")
    vectors = Vectors(data, message.dimensions)
    if vectors.rows != message.rows:
        raise InvalidMessage("the vectors' bytes do not match their rows")
    return vectors


def model_name(message: embed_pb2.ModelRef) -> str:
    """Name an embedder exactly: vectors under one such name are comparable."""
    return f"{message.name}/{message.variant}@{message.sha256}" if message.name else ""


def passage_message(hit: Hit) -> retrieve_pb2.Passage:
    """Write a hit as a passage."""
    chunk, target = hit.found.chunk, hit.found.target
    return retrieve_pb2.Passage(
        document=target.document,
        version=target.version,
        chunk_id=chunk.chunk_id,
        start=chunk.start,
        end=chunk.end,
        text=chunk.text,
        page=chunk.page,
        score=hit.score,
        lexical_rank=hit.lexical_rank,
        vector_rank=hit.vector_rank,
        title=hit.found.title,
    )


def _target(document: ingest_pb2.Document) -> DocumentVersion:
    return DocumentVersion(document.document, document.version)
