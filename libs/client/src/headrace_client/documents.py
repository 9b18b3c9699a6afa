"""A document's status as programs read it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from headrace.document.v1 import document_pb2
from headrace.ingest.v1 import ingest_service_pb2

DocumentState = Literal["submitted", "chunked", "indexed", "failed", "deleted", "unchanged"]
UPLOAD_PART_BYTES = 512 * 1024
SETTLED: frozenset[DocumentState] = frozenset({"indexed", "failed", "deleted", "unchanged"})


@dataclass(frozen=True)
class DocumentStatus:
    """Where one document version stands. `reason` is a stable code when it failed."""

    document: str
    version: int
    state: DocumentState
    reason: str | None
    detail: str | None
    chunks: int
    pages: int
    size_bytes: int
    timings_ms: Mapping[str, float]

    def settled(self) -> bool:
        """Tell whether nothing more will happen to this version."""
        return self.state in SETTLED

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return asdict(self)


def status_of(status: document_pb2.DocumentStatus) -> DocumentStatus:
    """Read a status event."""
    return DocumentStatus(
        document=status.document,
        version=status.version,
        state=document_pb2.State.Name(status.state).removeprefix("STATE_").lower(),  # type: ignore[arg-type] # the enum's own names
        reason=status.reason or None,
        detail=status.detail or None,
        chunks=status.chunks,
        pages=status.pages,
        size_bytes=status.size_bytes,
        timings_ms=dict(status.timings_ms),
    )


async def upload_parts(
    document: str, content: bytes, allow: Sequence[str]
) -> AsyncIterator[ingest_service_pb2.SubmitRequest]:
    """Yield the messages of one submission: its head, then the bytes in parts."""
    head = ingest_service_pb2.SubmitHead(document=document, allow=allow, size_bytes=len(content))
    yield ingest_service_pb2.SubmitRequest(head=head)
    for start in range(0, len(content), UPLOAD_PART_BYTES):
        yield ingest_service_pb2.SubmitRequest(data=content[start : start + UPLOAD_PART_BYTES])
