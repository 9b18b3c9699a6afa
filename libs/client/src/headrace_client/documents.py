"""A document's status as programs read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from headrace.document.v1 import document_pb2

DocumentState = Literal["submitted", "chunked", "indexed", "failed", "deleted", "unchanged"]
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
